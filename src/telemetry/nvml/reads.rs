//! The calls of NVML that give one or two numbers each, and what they are numbers of.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, PcieUtilCounter, TemperatureSensor};
use nvml_wrapper::error::NvmlError;

use crate::capture::beside::counters::Metric;

/// One call.
pub(super) struct Read {
    /// What it gives, in order.
    pub(super) metrics: &'static [Metric],
    /// The call; a number that no metric stands for is 0.
    pub(super) call: fn(&Device<'_>) -> Result<[f64; 2], NvmlError>,
}

/// All that are quick.
pub(super) const READS: &[Read] = &[
    Read {
        metrics: &[Metric::GpuUtilization, Metric::MemoryUtilization],
        call: |gpu| gpu.utilization_rates().map(|u| [u.gpu.into(), u.memory.into()]),
    },
    Read { metrics: &[Metric::Power], call: |gpu| gpu.power_usage().map(|mw| one(f64::from(mw) / 1000.0)) },
    Read { metrics: &[Metric::SmClock], call: |gpu| gpu.clock_info(Clock::SM).map(|mhz| one(mhz.into())) },
    Read { metrics: &[Metric::MemoryClock], call: |gpu| gpu.clock_info(Clock::Memory).map(|mhz| one(mhz.into())) },
    Read {
        metrics: &[Metric::Temperature],
        call: |gpu| gpu.temperature(TemperatureSensor::Gpu).map(|celsius| one(celsius.into())),
    },
    Read {
        metrics: &[Metric::ThrottleReasons],
        call: |gpu| gpu.current_throttle_reasons().map(|reasons| one(reasons.bits() as f64)),
    },
];

/// The two that take 20 ms each. NVML speaks of KB; they are taken for 1000 bytes.
pub(super) const PCIE: [Read; 2] = [
    Read {
        metrics: &[Metric::PcieTransmitted],
        call: |gpu| gpu.pcie_throughput(PcieUtilCounter::Send).map(|kb| one(f64::from(kb) * 1000.0)),
    },
    Read {
        metrics: &[Metric::PcieReceived],
        call: |gpu| gpu.pcie_throughput(PcieUtilCounter::Receive).map(|kb| one(f64::from(kb) * 1000.0)),
    },
];

fn one(value: f64) -> [f64; 2] {
    [value, 0.0]
}

/// NVML's throttle reasons, from bit 0 on.
const THROTTLE_REASONS: [&str; 9] = [
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "display_clock_setting",
];

/// The names of a value of [`Metric::ThrottleReasons`].
pub(super) fn throttle_reasons(value: f64) -> Vec<&'static str> {
    let bits = value as u64;
    THROTTLE_REASONS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect()
}
