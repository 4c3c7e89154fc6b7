//! Counters of a GPU: what is measured, by which name and unit, and one value of it.
//!
//! The one table of metrics: a fragment holds the number, status and API the key, a viewer the title.

/// What is measured. Its number stands in fragments: a new one gets a new number, none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Metric {
    /// Share of NVML's last sample period (1/6 s to 1 s) in which a kernel ran.
    GpuUtilization = 1,
    /// Share of that period in which device memory was read or written.
    MemoryUtilization = 2,
    /// Device memory in use.
    MemoryUsed = 3,
    /// Power drawn; most cards since Ampere give the mean over a second.
    Power = 4,
    /// Clock of the streaming multiprocessors.
    SmClock = 5,
    /// Clock of the memory.
    MemoryClock = 6,
    /// Temperature of the chip.
    Temperature = 7,
    /// Why the clocks are below what they could be: NVML's bits.
    ThrottleReasons = 8,
    /// Sent over PCIe.
    PcieTransmitted = 9,
    /// Received over PCIe.
    PcieReceived = 10,
    /// Share of time in which one process used the multiprocessors.
    ProcessSmUtilization = 11,
    /// Share of time in which one process used the device memory.
    ProcessMemoryUtilization = 12,
    /// GPM: share of time in which a multiprocessor had a warp, mean over all.
    SmBusy = 13,
    /// GPM: warps that were active, of the most there could be.
    SmOccupancy = 14,
    /// GPM: share of time in which the tensor cores worked.
    TensorBusy = 15,
    /// GPM: share of the device memory's bandwidth that was used.
    DramBandwidth = 16,
    /// GPM: sent over all NVLinks.
    NvlinkTransmitted = 17,
    /// GPM: received over all NVLinks.
    NvlinkReceived = 18,
}

/// All metrics: key, with its unit, and title, with its unit.
const METRICS: &[(Metric, &str, &str)] = &[
    (Metric::GpuUtilization, "gpu_utilization_percent", "GPU utilization (%)"),
    (Metric::MemoryUtilization, "memory_utilization_percent", "memory utilization (%)"),
    (Metric::MemoryUsed, "memory_used_bytes", "memory used (bytes)"),
    (Metric::Power, "power_watts", "power (W)"),
    (Metric::SmClock, "sm_clock_mhz", "SM clock (MHz)"),
    (Metric::MemoryClock, "memory_clock_mhz", "memory clock (MHz)"),
    (Metric::Temperature, "temperature_celsius", "temperature (°C)"),
    (Metric::ThrottleReasons, "throttle_reasons", "throttle reasons (bits)"),
    (Metric::PcieTransmitted, "pcie_transmitted_bytes_per_second", "PCIe transmitted (bytes/s)"),
    (Metric::PcieReceived, "pcie_received_bytes_per_second", "PCIe received (bytes/s)"),
    (Metric::ProcessSmUtilization, "process_sm_utilization_percent", "SM utilization (%)"),
    (Metric::ProcessMemoryUtilization, "process_memory_utilization_percent", "memory utilization (%)"),
    (Metric::SmBusy, "sm_busy_percent", "SM busy (%)"),
    (Metric::SmOccupancy, "sm_occupancy_percent", "SM occupancy (%)"),
    (Metric::TensorBusy, "tensor_busy_percent", "tensor cores busy (%)"),
    (Metric::DramBandwidth, "dram_bandwidth_percent", "DRAM bandwidth (%)"),
    (Metric::NvlinkTransmitted, "nvlink_transmitted_bytes_per_second", "NVLink transmitted (bytes/s)"),
    (Metric::NvlinkReceived, "nvlink_received_bytes_per_second", "NVLink received (bytes/s)"),
];

impl Metric {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        METRICS.iter().map(|row| row.0)
    }

    /// Its number in a fragment.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The metric of a number; `None`: one that this version does not know.
    pub fn of(number: u16) -> Option<Self> {
        METRICS.iter().map(|row| row.0).find(|metric| metric.number() == number)
    }

    /// What it is called in JSON.
    pub fn key(self) -> &'static str {
        self.row().1
    }

    /// What its track is called.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// Whether it is one process's.
    pub const fn is_of_a_process(self) -> bool {
        matches!(self, Self::ProcessSmUtilization | Self::ProcessMemoryUtilization)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        METRICS.iter().find(|row| row.0 == self).unwrap_or(&METRICS[0])
    }
}

/// One value of one counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counter {
    /// When it was read, CLOCK_MONOTONIC nanoseconds.
    pub at_ns: u64,
    /// Which GPU: place in the fragment's list of them.
    pub gpu: u32,
    /// What was measured.
    pub metric: Metric,
    /// Whose value it is, where it is one process's; else 0.
    pub pid: u32,
    /// How much, in the metric's unit. Always finite.
    pub value: f64,
}

/// A GPU, or a MIG instance of one.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct GpuIdentity {
    /// NVML's index of the GPU; not always CUDA's.
    pub index: u32,
    /// Index of the MIG instance inside it; `None`: the GPU itself.
    pub mig: Option<u32>,
    /// Its UUID.
    pub uuid: String,
    /// What it is called.
    pub name: String,
}

impl GpuIdentity {
    /// `0`, or `0.1` for the MIG instance 1 in it.
    pub fn label(&self) -> String {
        self.mig.map_or_else(|| self.index.to_string(), |mig| format!("{}.{mig}", self.index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_row_of_its_own() {
        for number in 0..100 {
            let found = METRICS.iter().filter(|row| row.0.number() == number).count();
            assert_eq!(found, usize::from(Metric::of(number).is_some()), "{number}");
        }
        assert_eq!((METRICS.len(), Metric::of(18).is_some(), Metric::of(19)), (18, true, None));
        let keys: std::collections::BTreeSet<_> = Metric::all().map(Metric::key).collect();
        assert_eq!(keys.len(), METRICS.len());
    }
}
