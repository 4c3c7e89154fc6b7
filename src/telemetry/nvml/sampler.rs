//! The thread `stepscope-nvml`: when is what read, and how it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nvml_wrapper::{Device, Nvml};

use super::engines::Engines;
use super::gpu::Gpu;
use super::library;
use super::status::{GpuReadings, Gpus};
use crate::capture::beside::counters::{Counter, CounterQueue, Demand, GpuIdentity, Sampled};
use crate::capture::handle::Captures;
use crate::config::NvmlSettings;

/// How long the end of the sampler waits for a call of NVML's to return.
const PATIENCE: Duration = Duration::from_secs(1);

/// The running sampler; ended when dropped.
#[derive(Debug)]
pub struct Sampler {
    gpus: Gpus,
    queue: Arc<CounterQueue>,
    thread: Option<(JoinHandle<()>, mpsc::Receiver<()>)>,
}

impl Sampler {
    /// Starts it. Never fails: what is not there is said by [`Gpus`].
    pub fn start(settings: &NvmlSettings, captures: &Captures) -> Self {
        let queue = captures.counters().clone();
        let gpus = Gpus::none("NVML has not answered yet");
        let mut sampler = Self { gpus: gpus.clone(), queue: queue.clone(), thread: None };
        let announce = |why: &str| queue.announce(Sampled { gpus: Vec::new(), absent: Some(why.into()) });
        if settings.period_ms == 0 && settings.window_period_ms == 0 {
            let why = "switched off: nvml.period_ms and nvml.window_period_ms are 0";
            gpus.give_up(why.into());
            announce(why);
            return sampler;
        }
        announce("NVML has not answered yet");
        let (settings, captures) = (settings.clone(), captures.clone());
        let (done, over) = mpsc::channel();
        let body = move || {
            let queue = captures.counters().clone();
            let ran = catch_unwind(AssertUnwindSafe(|| run(&settings, &captures, &gpus)));
            let why = match ran {
                Ok(Ok(())) => None,
                Ok(Err(why)) => Some(why),
                Err(_) => Some("the sampler panicked".into()),
            };
            if let Some(why) = why {
                tracing::info!(reason = why, "no counters of GPUs");
                gpus.give_up(why.clone());
                queue.announce(Sampled { gpus: Vec::new(), absent: Some(why) });
            }
            // Dropped with the thread's end: whoever waits need not wait longer.
            drop(done);
        };
        match std::thread::Builder::new().name("stepscope-nvml".into()).spawn(body) {
            Ok(thread) => sampler.thread = Some((thread, over)),
            Err(error) => sampler.gpus.give_up(format!("the sampler's thread could not be started: {error}")),
        }
        sampler
    }

    /// What it sees.
    pub fn gpus(&self) -> Gpus {
        self.gpus.clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.queue.end();
        let Some((thread, over)) = self.thread.take() else { return };
        match over.recv_timeout(PATIENCE) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::warn!("NVML does not answer: its thread is left behind");
            }
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => drop(thread.join()),
        }
    }
}

/// Samples until it is sent home.
fn run(settings: &NvmlSettings, captures: &Captures, published: &Gpus) -> Result<(), String> {
    let queue = captures.counters();
    let nvml = library::open(&settings.library)?;
    let (mut gpus, unreachable) = find(&nvml)?;
    published.found(gpus.iter().map(Gpu::readings).chain(unreachable).collect());
    let is_off = settings.window_period_ms == 0;
    let absent = is_off.then(|| "switched off: nvml.window_period_ms is 0".to_owned());
    queue.announce(Sampled { gpus: gpus.iter().map(|gpu| gpu.identity().clone()).collect(), absent });

    let (mut seen, mut pcie_turn) = (queue.demand(), 0);
    while !seen.ended {
        let window = seen.window.filter(|_| !is_off);
        let period = if window.is_some() { settings.window_period_ms } else { settings.period_ms };
        let began = Instant::now();
        if period != 0 {
            pass(&mut gpus, (seen, window), captures, published, &mut pcie_turn);
        }
        let period = Duration::from_millis(period);
        let mut deadline = (!period.is_zero()).then(|| next(began, period, Instant::now()));
        // A window that closes asks for nothing at once.
        loop {
            let demand = queue.wait(seen, deadline);
            let is_closing = demand != seen && demand.window.is_none() && !demand.ended;
            seen = demand;
            if !is_closing {
                break;
            }
            let slow = Duration::from_millis(settings.period_ms);
            deadline = (!slow.is_zero()).then(|| Instant::now() + slow);
        }
    }
    Ok(())
}

/// The next time on the grid of periods from `began` on: what was missed is left out.
fn next(began: Instant, period: Duration, now: Instant) -> Instant {
    let periods = now.saturating_duration_since(began).as_nanos() / period.as_nanos().max(1) + 1;
    began + period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX))
}

/// Reads everything once, for a window if there is one.
fn pass(
    gpus: &mut [Gpu<'_>],
    (seen, window): (Demand, Option<u64>),
    captures: &Captures,
    published: &Gpus,
    pcie_turn: &mut usize,
) {
    let queue = captures.counters();
    let engines = Engines::attached(captures);
    let mut values: Vec<Counter> = Vec::with_capacity(64);
    // Handed on one GPU at a time: a call that hangs on one costs nothing of the others.
    let hand_on = |at: usize, gpu: &Gpu<'_>, values: &mut Vec<Counter>| {
        if let Some(window) = window {
            queue.offer(window, values);
        }
        values.clear();
        published.update(at, gpu.readings());
    };
    for (at, gpu) in gpus.iter_mut().enumerate() {
        gpu.sample(&engines, &mut values);
        hand_on(at, gpu, &mut values);
    }
    let calls = gpus.len() * Gpu::PCIE_CALLS;
    for _ in 0..calls {
        let (at, direction) = (*pcie_turn / Gpu::PCIE_CALLS % gpus.len(), *pcie_turn % Gpu::PCIE_CALLS);
        *pcie_turn = (*pcie_turn + 1) % calls;
        if gpus[at].wants_pcie(direction) {
            gpus[at].pcie(direction, &mut values);
            hand_on(at, &gpus[at], &mut values);
            // 20 ms have passed.
            if window.is_some() || queue.demand() != seen {
                return;
            }
        }
    }
}

/// All GPUs, the MIG instances of each behind it; and those that can't be asked.
fn find(nvml: &Nvml) -> Result<(Vec<Gpu<'_>>, Vec<GpuReadings>), String> {
    let count = nvml.device_count().map_err(|error| library::reason(&error))?;
    let (mut gpus, mut unreachable) = (Vec::new(), Vec::new());
    for index in 0..count {
        match nvml.device_by_index(index) {
            Ok(device) => {
                let instances = mig_instances(&device);
                gpus.push(Gpu::new(nvml, device, gpus.len() as u32, index, None));
                for (mig, device) in instances {
                    gpus.push(Gpu::new(nvml, device, gpus.len() as u32, index, Some(mig)));
                }
            }
            Err(error) => {
                let reason = library::reason(&error);
                tracing::info!(gpu = index, reason, "no counters of a GPU");
                let identity = GpuIdentity { index, ..GpuIdentity::default() };
                unreachable.push(GpuReadings { identity, lost: Some(reason), ..GpuReadings::default() });
            }
        }
    }
    if gpus.is_empty() && unreachable.is_empty() {
        return Err("NVML sees no GPU".into());
    }
    Ok((gpus, unreachable))
}

/// The instances that are there now; one that is made later is not seen.
fn mig_instances<'nvml>(device: &Device<'nvml>) -> Vec<(u32, Device<'nvml>)> {
    const ENABLED: u32 = 1;
    if !device.mig_mode().is_ok_and(|mode| mode.current == ENABLED) {
        return Vec::new();
    }
    let most = device.mig_device_count().unwrap_or(0);
    (0..most).filter_map(|mig| Some((mig, device.mig_device_by_index(mig).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_that_was_missed_is_left_out() {
        let (began, ms) = (Instant::now(), Duration::from_millis);
        assert_eq!(next(began, ms(50), began + ms(10)), began + ms(50));
        assert_eq!(next(began, ms(50), began + ms(50)), began + ms(100));
        assert_eq!(next(began, ms(50), began + ms(120)), began + ms(150));
    }
}
