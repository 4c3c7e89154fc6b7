//! NVML itself: loaded when asked for, and why it is not there.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// Loads and initialises it. May take seconds.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn open(library: &Path) -> Result<Nvml, String> {
    Nvml::builder().lib_path(library.as_os_str()).init().map_err(|error| reason(&error))
}

/// An error in words that say what it means here.
pub(super) fn reason(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(error) => format!("the NVML library can't be loaded: {error}"),
        NvmlError::FailedToLoadSymbol(_) => "the NVML library does not know it: the driver is too old".into(),
        NvmlError::DriverNotLoaded => "no NVIDIA driver is loaded".into(),
        NvmlError::LibRmVersionMismatch => {
            "driver and NVML library have different versions: reboot, or reload the driver".into()
        }
        NvmlError::NotSupported => "not supported by this GPU".into(),
        NvmlError::NoPermission => "not permitted to this user".into(),
        NvmlError::GpuLost => "the GPU is lost: it fell off the bus, or can't be reached".into(),
        NvmlError::ResetRequired => "the GPU needs a reset".into(),
        NvmlError::UnexpectedVariant(code) => format!("NVML answered with code {code}"),
        other => other.to_string(),
    }
}

/// Whether asking again is of no use.
pub(super) fn is_lasting(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::FunctionNotFound
            | NvmlError::VgpuEccNotSupported
    )
}

/// Whether the GPU itself is gone.
pub(super) fn is_loss(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired)
}

/// What NVML says of this machine: how many GPUs, and the driver's version.
///
/// # Errors
/// Why it says nothing; also when it does not within `patience`, and is left behind then.
pub fn probe(library: &Path, patience: Duration) -> Result<(u32, String), String> {
    let library = library.to_owned();
    let (answer, answered) = mpsc::channel();
    let ask = move || {
        let found = open(&library).and_then(|nvml| {
            let gpus = nvml.device_count().map_err(|error| reason(&error))?;
            Ok((gpus, nvml.sys_driver_version().unwrap_or_default()))
        });
        // Whoever asked may have given up.
        let _ = answer.send(found);
    };
    std::thread::Builder::new().name("stepscope-nvml".into()).spawn(ask).map_err(|error| error.to_string())?;
    answered.recv_timeout(patience).unwrap_or_else(|_| Err("NVML does not answer".into()))
}
