//! GPM: finer metrics of cards since Hopper. A value is the mean between two samples, the one before and this one.

use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::gpm_metrics_get;
use nvml_wrapper::{Device, GpmSample, Nvml};

use crate::capture::beside::counters::Metric;

/// What is asked for.
pub(super) const METRICS: [(Metric, GpmMetricId); 8] = [
    (Metric::SmBusy, GpmMetricId::SmUtil),
    (Metric::SmOccupancy, GpmMetricId::SmOccupancy),
    (Metric::TensorBusy, GpmMetricId::AnyTensorUtil),
    (Metric::DramBandwidth, GpmMetricId::DramBwUtil),
    (Metric::PcieTransmitted, GpmMetricId::PcieTxPerSec),
    (Metric::PcieReceived, GpmMetricId::PcieRxPerSec),
    (Metric::NvlinkTransmitted, GpmMetricId::NvlinkTotalTxPerSec),
    (Metric::NvlinkReceived, GpmMetricId::NvlinkTotalRxPerSec),
];

/// One GPU's.
#[derive(Debug, Default)]
pub(super) struct Gpm<'nvml> {
    is_supported: bool,
    before: Option<GpmSample<'nvml>>,
}

/// What a sample gave, metric by metric; nothing the first time.
pub(super) type Values = Vec<(Metric, Result<f64, NvmlError>)>;

impl<'nvml> Gpm<'nvml> {
    /// Takes a sample.
    ///
    /// # Errors
    /// GPM is not supported, or could not be asked.
    pub(super) fn sample(&mut self, nvml: &'nvml Nvml, gpu: &Device<'nvml>) -> Result<Values, NvmlError> {
        if !self.is_supported {
            if !gpu.gpm_support()? {
                return Err(NvmlError::NotSupported);
            }
            self.is_supported = true;
        }
        // A sample that is missing would make the next value one of a longer time than it says.
        let before = self.before.take();
        let now = gpu.gpm_sample()?;
        let found = match &before {
            Some(before) => gpm_metrics_get(nvml, before, &now, &METRICS.map(|(_, id)| id)),
            None => Ok(Vec::new()),
        };
        self.before = Some(now);
        let values = METRICS.iter().zip(found?).map(|((metric, _), found)| {
            let value = found.map(|result| result.value * scale(*metric, &result.metric_info.unit));
            (*metric, value.and_then(|value| if value.is_finite() { Ok(value) } else { Err(NvmlError::NoData) }))
        });
        Ok(values.collect())
    }
}

/// Bandwidths are in MiB per second by NVML's header; where the result names its unit, that holds.
fn scale(metric: Metric, unit: &str) -> f64 {
    let is_bandwidth = METRICS[4..].iter().any(|(m, _)| *m == metric);
    match unit {
        _ if !is_bandwidth => 1.0,
        unit if unit.starts_with("KiB") => 1024.0,
        unit if unit.starts_with("MB") => 1e6,
        unit if unit.starts_with("GiB") => 1_073_741_824.0,
        unit if unit.starts_with("GB") => 1e9,
        unit if unit.starts_with("B/") || unit.starts_with("bytes") => 1.0,
        _ => 1_048_576.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_is_in_bytes_whatever_its_unit() {
        assert_eq!(scale(Metric::PcieReceived, "MiB/sec"), 1_048_576.0);
        assert_eq!(scale(Metric::NvlinkReceived, ""), 1_048_576.0);
        assert_eq!(scale(Metric::NvlinkTransmitted, "GB/s"), 1e9);
        assert_eq!(scale(Metric::SmBusy, "MiB/sec"), 1.0);
    }
}
