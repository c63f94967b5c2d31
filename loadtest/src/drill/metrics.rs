//! A program's metrics, by name and label.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::exchange;

/// A machine on which brokers start answers late.
const WAIT: Duration = Duration::from_secs(20);

/// One reading.
#[derive(Debug, Default)]
pub struct Page(String);

/// Asks the admin listener at `address`.
pub async fn read(address: SocketAddr) -> anyhow::Result<Page> {
    let request = b"GET /metrics HTTP/1.1\r\nHost: drill\r\nConnection: close\r\n\r\n";
    let (status, text) = tokio::time::timeout(WAIT, exchange::ask(address, request))
        .await
        .with_context(|| format!("no metrics from {address} in {} s", WAIT.as_secs()))?
        .with_context(|| format!("failed to read metrics from {address}"))?;
    ensure!(status == 200, "status {status} in place of metrics from {address}");
    Ok(Page(text))
}

impl Page {
    /// Over all series of a name.
    pub fn sum(&self, name: &str) -> u64 {
        self.series(name).map(|(_, value)| value).sum()
    }

    /// The sums by the values of a label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        let start = format!("{label}=\"");
        for (labels, value) in self.series(name) {
            let found = labels.split(',').find_map(|pair| pair.strip_prefix(&start)?.strip_suffix('"'));
            *sums.entry(found.unwrap_or_default().to_owned()).or_default() += value;
        }
        sums
    }

    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.0.lines().filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let labels = series.strip_prefix(name)?;
            let labels = match labels {
                "" => "",
                _ => labels.strip_prefix('{')?.strip_suffix('}')?,
            };
            Some((labels, value.parse::<f64>().ok()? as u64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_told_apart_by_name_and_label() {
        let page = Page(
            "# HELP a x\na{k=\"open\",reason=\"full\"} 3\na{k=\"click\",reason=\"full\"} 2\na{k=\"open\",reason=\"disk\"} 1\n\
             ab 7\nc 1.5e3\n"
                .to_owned(),
        );
        assert_eq!((page.sum("a"), page.sum("ab"), page.sum("c"), page.sum("d")), (6, 7, 1_500, 0));
        assert_eq!(page.by("a", "reason"), BTreeMap::from([("disk".into(), 1), ("full".into(), 5)]));
    }
}
