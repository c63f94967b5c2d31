//! A page of metrics, asked for and read. Nothing but what our own admin listeners send.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};

const WAIT: Duration = Duration::from_secs(5);
/// A page has some hundred lines.
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// Labels and value of a series.
pub type Series = (BTreeMap<String, String>, u64);

/// The samples of one program, by name.
#[derive(Debug, Default)]
pub struct Page {
    samples: BTreeMap<String, Vec<Series>>,
}

/// Where a program that listens here shows its metrics.
pub fn url_of(listen: SocketAddr) -> String {
    let ip = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    format!("http://{}/metrics", SocketAddr::new(ip, listen.port()))
}

/// Asks for a page: `http://HOST:PORT`, with or without a path.
pub fn page(url: &str) -> anyhow::Result<Page> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    if rest.contains("://") {
        bail!("expected http://HOST:PORT/metrics");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
    let address = authority.to_socket_addrs().context("expected http://HOST:PORT/metrics")?.next();
    let mut stream = TcpStream::connect_timeout(&address.context("no such host")?, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let path = if path.is_empty() { "metrics" } else { path };
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("answered {status:?}");
    }
    Ok(Page::read(body))
}

impl Page {
    /// Reads Prometheus' text format, as far as our programs use it. Lines of other forms are left out.
    pub fn read(text: &str) -> Page {
        let mut page = Page::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split("\",");
            let label = |label: &str| {
                let (name, value) = label.split_once("=\"")?;
                Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
            };
            // Counts, all of them: negative ones and fractions are not asked for.
            let series = (labels.filter_map(label).collect(), value.max(0.0) as u64);
            page.samples.entry(name.to_owned()).or_default().push(series);
        }
        page
    }

    /// Whether there is such a metric.
    pub fn has(&self, name: &str) -> bool {
        self.samples.contains_key(name)
    }

    /// Every series of a metric.
    pub fn series(&self, name: &str) -> &[Series] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    /// All series of a metric together.
    pub fn sum(&self, name: &str) -> u64 {
        self.series(name).iter().map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let page = Page::read(
            "# TYPE a_b counter\na_b{x=\"1\",y=\"p,q\"} 3\na_b{x=\"2\"} 4\nc 1e3\nbroken\nd NaN\n",
        );
        assert_eq!((page.sum("a_b"), page.sum("c"), page.sum("nothing")), (7, 1000, 0));
        assert_eq!(
            page.series("a_b")[0].0,
            [("x", "1"), ("y", "p,q")].map(|(a, b)| (a.into(), b.into())).into()
        );
        assert!(page.has("c") && !page.has("broken"));
        assert_eq!(url_of("0.0.0.0:9090".parse().unwrap()), "http://127.0.0.1:9090/metrics");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        assert!(page("https://x").unwrap_err().to_string().contains("http://HOST:PORT"));
        assert!(format!("{:#}", page("http://nowhere").unwrap_err()).contains("http://HOST:PORT"));
    }
}
