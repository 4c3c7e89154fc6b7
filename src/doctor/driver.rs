//! The CUDA driver: is there one, does it initialise, what does it drive?
//!
//! Asked in a process of its own ([`ask`] runs there, and [`finding`] says what came back), because the driver is a stranger's
//! code: it can crash, or hang while a device is in a bad way, and `cudarc` panics where a symbol is missing. The agent does
//! not use `cudarc`, see its room.
#![allow(unsafe_code, reason = "the CUDA driver")]

use std::ffi::CStr;
use std::path::Path;

use cudarc::driver::{result, sys};
use serde::{Deserialize, Serialize};

use super::finding::Finding;

const ABOUT: &str = "cuda";

/// What the driver said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Its library can be loaded.
    pub present: bool,
    /// The newest CUDA that it runs, 12080 for 12.8; 0: it did not say.
    pub version: i32,
    /// What cuInit answered: the code, and its name if the driver knows it.
    pub initialised: Option<(u32, String)>,
    /// Name of each device.
    pub devices: Vec<String>,
}

/// How asking ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It answered.
    Answered(Answer),
    /// No answer within this many seconds.
    Silent(u64),
    /// The process that asked died, or could not be started; in words.
    Died(String),
}

/// Asks the driver. May hang, crash or panic: not in a process that has anything else to do.
pub fn ask() -> Answer {
    // SAFETY: loads a library that is made for any process. cudarc panics at the first call where there is none.
    let mut answer = Answer { present: unsafe { sys::is_culib_present() }, ..Answer::default() };
    if !answer.present {
        return answer;
    }
    // SAFETY: a variable of ours; may be called before cuInit.
    let code = unsafe { sys::cuDriverGetVersion(&mut answer.version) };
    if code != sys::CUresult::CUDA_SUCCESS {
        answer.version = 0;
    }
    let initialised = result::init().err().map_or(sys::CUresult::CUDA_SUCCESS, |error| error.0);
    answer.initialised = Some((initialised as u32, name_of(initialised)));
    if initialised == sys::CUresult::CUDA_SUCCESS {
        let count = result::device::get_count().unwrap_or(0);
        let name = |ordinal| result::device::get(ordinal).and_then(result::device::get_name);
        answer.devices = (0..count).map(|ordinal| name(ordinal).unwrap_or_else(|e| name_of(e.0))).collect();
    }
    answer
}

fn name_of(code: sys::CUresult) -> String {
    let mut name = std::ptr::null();
    // SAFETY: a variable of ours; what it is set to is a constant of the driver's, or null for a code that it does not know.
    unsafe {
        if sys::cuGetErrorName(code, &mut name) != sys::CUresult::CUDA_SUCCESS || name.is_null() {
            return format!("{code:?}");
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// What to say of it.
pub fn finding(asked: &Asked) -> Finding {
    // The kernel's half of the driver. Its devices' files prove nothing: the library makes one where it may.
    judge(asked, Path::new("/proc/driver/nvidia/version").exists())
}

/// The profiler `cuda` can't work: as it should be on a machine without a GPU.
fn without(there_is_a_gpu: bool, why: String) -> Finding {
    let what = format!("{why}, so the profiler `cuda` can't work here");
    if there_is_a_gpu {
        let mend = "see nvidia-smi; in a container, --gpus all and NVIDIA_DRIVER_CAPABILITIES=compute,utility";
        return Finding::warn(ABOUT, what, mend);
    }
    Finding::ok(ABOUT, what)
}

fn judge(asked: &Asked, there_is_a_gpu: bool) -> Finding {
    let answer = match asked {
        Asked::Answered(answer) => answer,
        Asked::Silent(seconds) => {
            return Finding::bad(
                ABOUT,
                format!("the CUDA driver did not answer within {seconds} s"),
                "engines that use CUDA hang likewise: look at dmesg and nvidia-smi for a device in a bad way",
            );
        }
        Asked::Died(how) => {
            return Finding::bad(
                ABOUT,
                format!("asking the CUDA driver failed: {how}"),
                "engines that use CUDA may fail likewise: reinstall the driver, in a container the same version as the host's",
            );
        }
    };
    let Some((code, name)) = &answer.initialised else {
        return without(there_is_a_gpu, "no CUDA driver: libcuda.so.1 can't be loaded".into());
    };
    let version = match answer.version {
        0 => "CUDA driver of unknown version".to_owned(),
        version => format!("CUDA driver for CUDA {}.{}", version / 1000, version % 1000 / 10),
    };
    if *code != 0 {
        return without(there_is_a_gpu, format!("{version}, but cuInit answered {code} ({name})"));
    }
    let what = format!("{version}, cuInit answered {code} ({name}); {}", devices(&answer.devices));
    if answer.devices.is_empty() {
        return Finding::warn(ABOUT, what, "CUDA_VISIBLE_DEVICES may hide them all");
    }
    Finding::ok(ABOUT, what)
}

/// Devices with how many of each there are, in order.
fn devices(names: &[String]) -> String {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match counted.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None => counted.push((name, 1)),
        }
    }
    match counted.is_empty() {
        true => "no device".into(),
        false => counted.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn answer(code: u32, devices: &[&str]) -> Asked {
        Asked::Answered(Answer {
            present: true,
            version: 12080,
            initialised: Some((code, "CUDA_NAME".into())),
            devices: devices.iter().map(|&name| name.into()).collect(),
        })
    }

    #[test]
    fn devices_are_counted_and_the_driver_is_named() {
        let found = judge(&answer(0, &["H200", "H200", "L4"]), true);
        let what = "CUDA driver for CUDA 12.8, cuInit answered 0 (CUDA_NAME); 2 × H200, 1 × L4";
        assert_eq!((found.level, found.what.as_str()), (Level::Ok, what));
    }

    #[test]
    fn what_keeps_cuda_from_working_is_said_and_with_a_gpu_what_mends_it() {
        for (asked, part) in [
            (answer(100, &[]), "cuInit answered 100 (CUDA_NAME)"),
            (Asked::Answered(Answer::default()), "libcuda.so.1 can't be loaded"),
        ] {
            let (with, without) = (judge(&asked, true), judge(&asked, false));
            assert!(with.level == Level::Warn && with.what.contains(part) && with.mend.is_some(), "{with:?}");
            assert!(without.level == Level::Ok && without.what == with.what, "{without:?}");
        }
        for (asked, level, part) in [
            (answer(0, &[]), Level::Warn, "no device"),
            (Asked::Silent(20), Level::Bad, "within 20 s"),
            (Asked::Died("signal: 11".into()), Level::Bad, "signal: 11"),
        ] {
            let found = judge(&asked, false);
            assert!(found.level == level && found.what.contains(part) && found.mend.is_some(), "{found:?}");
        }
    }
}
