//! The one metrics recorder of the process.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::process;

/// How often the raw samples of histograms are folded into their buckets. Until then each costs 8 bytes: at
/// 100,000 samples a second this holds a histogram under a megabyte, scraped or not.
const UPKEEP: Duration = Duration::from_millis(1_000);

/// Upper bounds for `*_seconds`: from the 50 microseconds of an answer to the minute of a stuck insert.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// Upper bounds for `*_bytes`: 64 B to 64 MiB by fours.
const BYTES: &[f64] = &[
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// Upper bounds for counts of things, such as the rows of a batch.
const COUNTS: &[f64] = &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6];

/// Shows what the process has counted. Clones share one recorder.
#[derive(Debug, Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Everything counted so far in Prometheus' text format, the `process_*` metrics included.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        process::render(&mut text);
        text
    }
}

/// Why metrics could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The recorder was refused.
    #[error("failed to install the metrics recorder: {0}")]
    Install(#[from] metrics_exporter_prometheus::BuildError),
    /// The thread that keeps histograms small did not start.
    #[error("failed to start the metrics upkeep thread")]
    Upkeep(#[source] std::io::Error),
}

/// Installs the process's recorder; called again, it hands out the same one.
///
/// From then on the `metrics` macros count. Every histogram is a true Prometheus histogram (buckets that can be
/// added up across instances), with bounds chosen by the unit that ends its name.
pub fn metrics() -> Result<Metrics, MetricsError> {
    static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);

    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(metrics) = &*installed {
        return Ok(metrics.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)?
        .install_recorder()?;

    // A thread of its own, for the life of the process: a busy runtime must not be able to hold it back.
    let upkeep = handle.clone();
    let forever = move || loop {
        thread::park_timeout(UPKEEP);
        upkeep.run_upkeep();
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(forever).map_err(MetricsError::Upkeep)?;

    Ok(installed.insert(Metrics { handle }).clone())
}
