//! A program's metrics, by name and label.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::exchange;

/// One reading.
#[derive(Debug, Default)]
pub struct Page(pub String);

impl Page {
    /// Asks the admin listener at `address`, which knows itself as `host`, and waits for `wait`.
    ///
    /// # Errors
    /// When it does not answer in time, or with something else.
    pub async fn read(address: SocketAddr, host: &str, wait: Duration) -> anyhow::Result<Page> {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let read = async {
            let asked = exchange::ask(address, request.as_bytes());
            let late = || format!("metrics did not come in {} s", wait.as_secs());
            let (status, text) = tokio::time::timeout(wait, asked).await.with_context(late)??;
            ensure!(status == 200, "status {status}, expected 200");
            anyhow::Ok(Page(text))
        };
        read.await.with_context(|| format!("failed to read metrics of {host}"))
    }

    /// The same for whoever has no runtime.
    ///
    /// # Errors
    /// When it does not answer in time, or with something else.
    pub fn wait_for(address: SocketAddr, wait: Duration) -> anyhow::Result<Page> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Page::read(address, &address.to_string(), wait))
    }

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
