//! The metrics, all names in one place, and their text as Prometheus reads it.
//!
//! What the session knows is read at scrape time ([`Readings`]); only HTTP requests are counted here as they come.
//! Called by `service`.

use std::collections::BTreeMap;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::nvml::status::GpuReadings;
use crate::capture::beside::counters::Metric;

/// Records taken from rings, by job, group and rank. Counter (`_total` is put behind it).
pub const RECORDS: &str = "stepscope_records";
/// Records dropped because a ring was full, by job, group and rank. Counter.
pub const RECORDS_DROPPED: &str = "stepscope_records_dropped";
/// Iterations ended, by job, group and rank. Counter.
pub const ITERATIONS: &str = "stepscope_iterations";
/// Captures that became final since this sidecar started, by state. Counter.
pub const CAPTURES: &str = "stepscope_captures";
/// 1 while a capture keeps others from starting. Gauge.
pub const CAPTURE_RUNNING: &str = "stepscope_capture_running";
/// Attached ranks. Gauge.
pub const RANKS_ATTACHED: &str = "stepscope_ranks_attached";
/// Segments that were found and not taken. Gauge.
pub const SEGMENTS_REFUSED: &str = "stepscope_segments_refused";
/// Bytes of all captures on disk. Gauge.
pub const STORE_BYTES: &str = "stepscope_store_bytes";
/// Lines of the audit log, by what became of them: `written`, `lost` (the disk did not take it), `left_out` (too many
/// refusals). Counter.
pub const AUDIT_LINES: &str = "stepscope_audit_lines";
/// Bytes of records that wait in memory because the disk does not take them. Gauge.
pub const BUFFERED_BYTES: &str = "stepscope_buffered_bytes";
/// HTTP requests answered, by route and status. Counter.
pub const HTTP_REQUESTS: &str = "stepscope_http_requests";

/// Values of GPUs, by device (NVML's index, `0.1` for MIG instance 1 in it) and UUID. Gauges; one that a GPU lacks, or
/// that it had until it was lost, is not there. Name, help, and what a value is multiplied by to be in the base unit.
pub const GPU_METRICS: &[(Metric, &str, &str, f64)] = &[
    (Metric::GpuUtilization, "stepscope_gpu_utilization_ratio", "Share of time in which a kernel ran", 0.01),
    (Metric::MemoryUtilization, "stepscope_gpu_memory_utilization_ratio", "Share of time the memory was used", 0.01),
    (Metric::MemoryUsed, "stepscope_gpu_memory_used_bytes", "Device memory in use", 1.0),
    (Metric::Power, "stepscope_gpu_power_watts", "Power drawn", 1.0),
    (Metric::SmClock, "stepscope_gpu_sm_clock_hertz", "Clock of the multiprocessors", 1e6),
    (Metric::MemoryClock, "stepscope_gpu_memory_clock_hertz", "Clock of the memory", 1e6),
    (Metric::Temperature, "stepscope_gpu_temperature_celsius", "Temperature of the chip", 1.0),
    (Metric::ThrottleReasons, "stepscope_gpu_throttle_reasons", "Why clocks are held down: NVML's bits", 1.0),
    (Metric::PcieTransmitted, "stepscope_gpu_pcie_transmitted_bytes_per_second", "Sent over PCIe", 1.0),
    (Metric::PcieReceived, "stepscope_gpu_pcie_received_bytes_per_second", "Received over PCIe", 1.0),
    (Metric::ProcessSmUtilization, "stepscope_gpu_process_sm_utilization_ratio", "Of one engine's process", 0.01),
    (
        Metric::ProcessMemoryUtilization,
        "stepscope_gpu_process_memory_utilization_ratio",
        "Of one engine's process",
        0.01,
    ),
    (Metric::SmBusy, "stepscope_gpu_sm_busy_ratio", "Share of time in which a multiprocessor had a warp", 0.01),
    (Metric::SmOccupancy, "stepscope_gpu_sm_occupancy_ratio", "Active warps of the most there could be", 0.01),
    (Metric::TensorBusy, "stepscope_gpu_tensor_busy_ratio", "Share of time in which tensor cores worked", 0.01),
    (Metric::DramBandwidth, "stepscope_gpu_dram_bandwidth_ratio", "Share of the memory's bandwidth", 0.01),
    (Metric::NvlinkTransmitted, "stepscope_gpu_nvlink_transmitted_bytes_per_second", "Sent over all NVLinks", 1.0),
    (Metric::NvlinkReceived, "stepscope_gpu_nvlink_received_bytes_per_second", "Received over all NVLinks", 1.0),
];
/// Device memory there is. Gauge, by device and UUID.
pub const GPU_MEMORY_TOTAL: &str = "stepscope_gpu_memory_total_bytes";
/// Whether the GPU answers: 0 once it is lost. Gauge, by device and UUID.
pub const GPU_UP: &str = "stepscope_gpu_up";

/// Requests passed on to the engine and answered by it, by class of status (`2xx`). Counter.
pub const PROXY_REQUESTS: &str = "stepscope_proxy_requests";
/// Requests that are with the engine. Gauge.
pub const PROXY_IN_FLIGHT: &str = "stepscope_proxy_requests_in_flight";
/// Bytes of bodies and tunnels, by direction: `to_engine`, `to_client`. Counter.
pub const PROXY_BYTES: &str = "stepscope_proxy_body_bytes";
/// Requests that the engine could not be given, or whose answer broke off. Counter.
pub const PROXY_UPSTREAM_ERRORS: &str = "stepscope_proxy_upstream_errors";
/// Requests whose client went before their end. Counter.
pub const PROXY_CLIENT_ABORTS: &str = "stepscope_proxy_client_aborts";
/// Connections that became tunnels (WebSocket, say). Counter.
pub const PROXY_TUNNELS: &str = "stepscope_proxy_tunnels";
/// Connections made to the engine. Counter.
pub const PROXY_CONNECTIONS: &str = "stepscope_proxy_upstream_connections";
/// Requests sent once more, since the engine had closed the connection meanwhile. Counter.
pub const PROXY_RETRIES: &str = "stepscope_proxy_retries";

/// Content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whose records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct RankLabels {
    /// Job; empty for ranks that are gone.
    pub job: String,
    /// Group.
    pub group: String,
    /// Rank; `source` for a process that runs no iterations, `departed` for all ranks that are gone.
    pub rank: String,
}

/// What one rank has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RankCounts {
    /// Records taken.
    pub records_total: u64,
    /// Records dropped.
    pub dropped_total: u64,
    /// Iterations ended; `None` for what runs none.
    pub iterations_total: Option<u64>,
}

/// What the session knows at scrape time.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// By rank. Two processes of one name are added up.
    pub ranks: BTreeMap<RankLabels, RankCounts>,
    /// Captures by final state.
    pub captures_total: Vec<(&'static str, u64)>,
    /// Whether a capture is running.
    pub capture_running: bool,
    /// Attached ranks.
    pub ranks_attached: u64,
    /// Segments not taken.
    pub segments_refused: u64,
    /// Bytes on disk.
    pub store_bytes: u64,
    /// Lines of the audit log by what became of them.
    pub audit_lines_total: Vec<(&'static str, u64)>,
    /// Bytes in memory that the disk does not take.
    pub buffered_bytes: u64,
    /// What the GPUs say.
    pub gpus: Vec<GpuReadings>,
    /// What passed to an engine behind us, if one is.
    pub proxy: Option<ProxyReadings>,
}

/// What passed to the engine behind us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyReadings {
    /// Answers by the hundreds of their status: 1xx to 5xx.
    pub requests_total: [u64; 5],
    /// Requests that are with the engine.
    pub in_flight: u64,
    /// Bytes to the engine.
    pub to_engine_bytes_total: u64,
    /// Bytes to the clients.
    pub to_client_bytes_total: u64,
    /// Requests that failed on the engine's side.
    pub upstream_errors_total: u64,
    /// Requests that their client left.
    pub client_aborts_total: u64,
    /// Tunnels.
    pub tunnels_total: u64,
    /// Connections to the engine.
    pub connections_total: u64,
    /// Requests sent once more.
    pub retries_total: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GpuLabels {
    device: String,
    uuid: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProcessLabels {
    device: String,
    uuid: String,
    pid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

/// What is counted as it happens.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
}

impl Metrics {
    /// One more request answered. `route` is the pattern, never the path that was asked for.
    pub fn request_answered(&self, route: &str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), status }).inc();
    }

    /// All metrics, as text.
    pub fn text(&self, readings: Readings) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        registry.register(HTTP_REQUESTS, "HTTP requests answered", self.requests.clone());
        registry.register_collector(Box::new(readings));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

impl Readings {
    fn per_rank(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&RankCounts) -> Option<u64>,
    ) -> Result<(), std::fmt::Error> {
        let mut metric = encoder.encode_descriptor(name, help, None, ConstCounter::new(0u64).metric_type())?;
        for (labels, counts) in &self.ranks {
            if let Some(value) = value(counts) {
                ConstCounter::new(value).encode(metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }

    fn gpus(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if self.gpus.is_empty() {
            return Ok(());
        }
        let kind = ConstGauge::new(0.0).metric_type();
        let labels = |gpu: &GpuReadings| GpuLabels { device: gpu.identity.label(), uuid: gpu.identity.uuid.clone() };
        let mut up = encoder.encode_descriptor(GPU_UP, "Whether the GPU answers", None, kind)?;
        for gpu in &self.gpus {
            ConstGauge::new(u64::from(gpu.lost.is_none())).encode(up.encode_family(&labels(gpu))?)?;
        }
        let mut total = encoder.encode_descriptor(GPU_MEMORY_TOTAL, "Device memory there is", None, kind)?;
        for gpu in &self.gpus {
            if let Some(bytes) = gpu.memory_total_bytes {
                ConstGauge::new(bytes).encode(total.encode_family(&labels(gpu))?)?;
            }
        }
        for (metric, name, help, factor) in GPU_METRICS {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for gpu in &self.gpus {
                for ((_, pid), reading) in gpu.latest.range((*metric, 0)..=(*metric, u32::MAX)) {
                    let gauge = ConstGauge::new(reading.value * factor);
                    let GpuLabels { device, uuid } = labels(gpu);
                    if metric.is_of_a_process() {
                        gauge.encode(family.encode_family(&ProcessLabels { device, uuid, pid: *pid })?)?;
                    } else {
                        gauge.encode(family.encode_family(&GpuLabels { device, uuid })?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn proxy(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(proxy) = &self.proxy else { return Ok(()) };
        let kind = ConstCounter::new(0u64).metric_type();
        let help = "Requests passed on to the engine and answered by it";
        let mut requests = encoder.encode_descriptor(PROXY_REQUESTS, help, None, kind)?;
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(proxy.requests_total) {
            ConstCounter::new(count).encode(requests.encode_family(&[("class", class)])?)?;
        }
        Self::gauge(encoder, PROXY_IN_FLIGHT, "Requests that are with the engine", proxy.in_flight)?;
        let mut bytes = encoder.encode_descriptor(PROXY_BYTES, "Bytes of bodies and tunnels", None, kind)?;
        for (direction, count) in
            [("to_engine", proxy.to_engine_bytes_total), ("to_client", proxy.to_client_bytes_total)]
        {
            ConstCounter::new(count).encode(bytes.encode_family(&[("direction", direction)])?)?;
        }
        for (name, help, count) in [
            (PROXY_UPSTREAM_ERRORS, "Requests that failed on the engine's side", proxy.upstream_errors_total),
            (PROXY_CLIENT_ABORTS, "Requests whose client went before their end", proxy.client_aborts_total),
            (PROXY_TUNNELS, "Connections that became tunnels", proxy.tunnels_total),
            (PROXY_CONNECTIONS, "Connections made to the engine", proxy.connections_total),
            (PROXY_RETRIES, "Requests sent once more on another connection", proxy.retries_total),
        ] {
            Self::counter(encoder, name, help, count)?;
        }
        Ok(())
    }

    fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
        let gauge = ConstGauge::new(value);
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let encoder = &mut encoder;
        self.per_rank(encoder, RECORDS, "Records taken from rings", |counts| Some(counts.records_total))?;
        self.per_rank(encoder, RECORDS_DROPPED, "Records dropped because a ring was full", |counts| {
            Some(counts.dropped_total)
        })?;
        self.per_rank(encoder, ITERATIONS, "Iterations ended", |counts| counts.iterations_total)?;
        let mut captures = encoder.encode_descriptor(
            CAPTURES,
            "Captures that became final",
            None,
            ConstCounter::new(0u64).metric_type(),
        )?;
        for (state, count) in &self.captures_total {
            ConstCounter::new(*count).encode(captures.encode_family(&[("state", *state)])?)?;
        }
        let mut audit = encoder.encode_descriptor(
            AUDIT_LINES,
            "Lines of the audit log",
            None,
            ConstCounter::new(0u64).metric_type(),
        )?;
        for (outcome, count) in &self.audit_lines_total {
            ConstCounter::new(*count).encode(audit.encode_family(&[("outcome", *outcome)])?)?;
        }
        let running = u64::from(self.capture_running);
        Self::gauge(encoder, CAPTURE_RUNNING, "1 while a capture keeps others from starting", running)?;
        Self::gauge(encoder, RANKS_ATTACHED, "Attached ranks", self.ranks_attached)?;
        Self::gauge(encoder, SEGMENTS_REFUSED, "Segments found and not taken", self.segments_refused)?;
        Self::gauge(encoder, STORE_BYTES, "Bytes of all captures on disk", self.store_bytes)?;
        self.proxy(encoder)?;
        let about = "Bytes of records that wait in memory because the disk does not take them";
        Self::gauge(encoder, BUFFERED_BYTES, about, self.buffered_bytes)?;
        self.gpus(encoder)
    }
}
