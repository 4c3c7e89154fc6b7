//! What NVML says of the GPUs.

use std::path::Path;
use std::time::Duration;

use super::finding::Finding;
use crate::telemetry::nvml::library::probe;

const ABOUT: &str = "gpu";
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether there are counters of GPUs. None is as it should be on a machine that has no GPU.
pub(super) fn look(nvml: &Path) -> Finding {
    match probe(nvml, PATIENCE) {
        Ok((0, driver)) => Finding::ok(ABOUT, format!("NVML, driver {driver}: no GPU")),
        Ok((1, driver)) => Finding::ok(ABOUT, format!("NVML, driver {driver}: 1 GPU")),
        Ok((gpus, driver)) => Finding::ok(ABOUT, format!("NVML, driver {driver}: {gpus} GPUs")),
        // `/dev/nvidiactl` proves nothing: it can be a left-over.
        Err(reason) if Path::new("/proc/driver/nvidia/version").exists() => Finding::warn(
            ABOUT,
            format!("there is an NVIDIA driver, and no counters of its GPUs: {reason}"),
            "give the sidecar's container the GPUs' utility capability (NVIDIA_DRIVER_CAPABILITIES=utility)",
        ),
        Err(reason) => Finding::ok(ABOUT, format!("no counters of GPUs: {reason}")),
    }
}
