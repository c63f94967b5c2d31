//! What every program shows of itself: logs, metrics, readiness, and how it is told to stop.
//!
//! Owns the admin listener (`/metrics`, `/healthz`, `/readyz`), the one metrics recorder of the process and the
//! signal handlers. Knows no program: each documents its metrics where it defines them, as a table of
//! [`Metric`], and reports its parts to a [`Health`]. Never on a request's path.

mod admin;
mod catalogue;
mod health;
mod logs;
mod process;
mod recorder;
mod setting;
mod shutdown;

pub use admin::{Admin, Limits, admin};
pub use catalogue::{Kind, Metric, describe, grammar, undocumented};
pub use health::Health;
pub use logs::{LogFormat, LogsError, logs};
pub use recorder::{Metrics, MetricsError, metrics};
pub use setting::SettingError;
pub use shutdown::Shutdown;
