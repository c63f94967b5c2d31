//! Log lines on stderr, as text for people or JSON for collectors.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object per line, the event's fields at its top level.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogsError;

    fn from_str(text: &str) -> Result<Self, LogsError> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(LogsError::Format(text.to_owned())),
        }
    }
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The format is none of those known.
    #[error("log format `{0}` is unknown: expected `text` or `json`")]
    Format(String),
    /// The filter does not parse, or would silence everything by a slip of the pen.
    #[error(
        "log filter `{filter}` is not understood: {reason}; \
         expected directives such as `info` or `info,edge=debug`"
    )]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something in the process has taken the place already.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// Starts logging to stderr for the whole process; records of the `log` crate come along.
pub fn logs(format: LogFormat, filter: &str) -> Result<(), LogsError> {
    let filter = parse(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    started.map_err(|_| LogsError::AlreadySet)
}

/// Parses a filter more strictly than `EnvFilter`, which takes the slip `inof` for the name of a module to be
/// logged in full, and so silences everything else.
fn parse(filter: &str) -> Result<EnvFilter, LogsError> {
    let refuse = |reason: String| LogsError::Filter { filter: filter.to_owned(), reason };
    let directives = filter.split(',').map(str::trim);
    // A comma inside `[span{a,b}]` splits a directive; such parts hold a bracket and are left to `EnvFilter`.
    if !filter.contains('[') {
        for directive in directives {
            if directive.is_empty() {
                return Err(refuse("a directive is empty".to_owned()));
            }
            if !directive.contains('=') && directive.parse::<LevelFilter>().is_err() {
                return Err(refuse(format!("`{directive}` is neither a level nor `target=level`")));
            }
        }
    }
    EnvFilter::try_new(filter).map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let good = [
            "info",
            "warn,edge=debug",
            "off",
            "INFO",
            "info,edge::answer=trace",
            "info,[batch{part=1}]=debug",
        ];
        for filter in good {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for (filter, names) in [
            ("inof", "`inof` is neither"),
            ("", "empty"),
            ("info,,debug", "empty"),
            ("edge=loud", "edge=loud"),
            ("info,[batch", "info,[batch"),
        ] {
            let error = parse(filter).expect_err(filter).to_string();
            assert!(error.contains(names), "{error}");
        }
    }

    #[test]
    fn formats() {
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        assert_eq!("text".parse::<LogFormat>().unwrap(), LogFormat::Text);
        let error = "xml".parse::<LogFormat>().unwrap_err().to_string();
        assert_eq!(error, "log format `xml` is unknown: expected `text` or `json`");
    }
}
