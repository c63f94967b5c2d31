//! What is published under addresses that stay, and what is made of it. No input or output here.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, bail};
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde::Deserialize;

/// A list that can be fetched.
pub struct PublishedList {
    /// Of the list, and the file.
    pub name: &'static str,
    /// All of them are needed.
    pub urls: &'static [&'static str],
    /// For the head of the file.
    pub source: &'static str,
    pub licence: &'static str,
    /// Makes prefixes of what was fetched.
    pub read: fn(&[String]) -> anyhow::Result<Vec<IpNet>>,
}

pub const LISTS: [PublishedList; 5] = [
    PublishedList {
        name: "apple-egress.txt",
        urls: &["https://mask-api.icloud.com/egress-ip-ranges.csv"],
        source: "Apple's egress-ip-ranges.csv, merged (https://mask-api.icloud.com/egress-ip-ranges.csv)",
        licence: "facts published by their owner",
        read: |texts| merged(first_column(&texts[0])?),
    },
    PublishedList {
        name: "google.txt",
        urls: &["https://www.gstatic.com/ipranges/goog.json", "https://www.gstatic.com/ipranges/cloud.json"],
        source: "Google's goog.json without its customers' cloud.json (https://www.gstatic.com/ipranges/goog.json)",
        licence: "facts published by their owner",
        read: google,
    },
    PublishedList {
        name: "microsoft-eop.txt",
        // The id is the caller's to choose; it is asked for.
        urls: &[
            "https://endpoints.office.com/endpoints/worldwide?clientrequestid=b10c5ed1-bad1-445f-b386-b919946339a7",
        ],
        source: "Microsoft, Office 365 endpoints, Exchange Online Protection (https://endpoints.office.com/endpoints/worldwide)",
        licence: "facts published by their owner",
        read: microsoft_eop,
    },
    PublishedList {
        name: "data-centres.txt",
        urls: &[
            "https://raw.githubusercontent.com/X4BNet/lists_vpn/main/output/datacenter/ipv4.txt",
            "https://raw.githubusercontent.com/X4BNet/lists_vpn/main/output/datacenter/ipv6.txt",
        ],
        source: "X4BNet lists_vpn, by the ASNs of hosters (https://github.com/X4BNet/lists_vpn)",
        licence: "MIT",
        read: lines,
    },
    PublishedList {
        name: "vpn.txt",
        urls: &[
            "https://raw.githubusercontent.com/X4BNet/lists_vpn/main/output/vpn/ipv4.txt",
            "https://raw.githubusercontent.com/X4BNet/lists_vpn/main/output/vpn/ipv6.txt",
        ],
        source: "X4BNet lists_vpn, by the ASNs of VPN services (https://github.com/X4BNet/lists_vpn)",
        licence: "MIT",
        read: lines,
    },
];

/// Lists that nobody publishes under an address that stays, and what to do about them.
pub const BY_HAND: [(&str, &str); 3] = [
    (
        "barracuda.txt",
        "published as a page for people only: https://campus.barracuda.com, \"IP ranges used for configuration\"",
    ),
    (
        "microsoft.txt",
        "Microsoft publishes its service tags under another name each week; with an ASN database its networks are found by number",
    ),
    (
        "vendors.tsv",
        "made from who announces which prefix; with an ASN database new prefixes of a vendor are found by number",
    ),
];

/// A database that DB-IP publishes each month, under CC BY 4.0.
pub struct PublishedDatabase {
    /// `geo` or `asn`.
    pub name: &'static str,
    /// Its name in a directory.
    pub file: &'static str,
    /// In its metadata: a file of another type is another publisher's, and stays.
    pub database_type: &'static str,
    /// Before and behind the month in the address.
    pub url: (&'static str, &'static str),
}

pub const DATABASES: [PublishedDatabase; 2] = [
    PublishedDatabase {
        name: "geo",
        file: "dbip-city-lite.mmdb",
        database_type: "DBIP-City-Lite",
        url: ("https://download.db-ip.com/free/dbip-city-lite-", ".mmdb.gz"),
    },
    PublishedDatabase {
        name: "asn",
        file: "dbip-asn-lite.mmdb",
        database_type: "DBIP-ASN-Lite",
        url: ("https://download.db-ip.com/free/dbip-asn-lite-", ".mmdb.gz"),
    },
];

/// The first column of CSV lines.
fn first_column(text: &str) -> anyhow::Result<Vec<IpNet>> {
    let prefix = |(index, line): (usize, &str)| net(line.split(',').next().unwrap_or_default(), index);
    text.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(prefix).collect()
}

fn lines(texts: &[String]) -> anyhow::Result<Vec<IpNet>> {
    let mut nets = Vec::new();
    for text in texts {
        let rows = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        for (index, line) in rows {
            nets.push(net(line, index)?);
        }
    }
    merged(nets)
}

fn net(text: &str, index: usize) -> anyhow::Result<IpNet> {
    text.trim().parse().with_context(|| format!("line {}: expected a network prefix", index + 1))
}

fn merged(nets: Vec<IpNet>) -> anyhow::Result<Vec<IpNet>> {
    match nets.is_empty() {
        true => bail!("no prefix in it"),
        false => Ok(IpNet::aggregate(&nets)),
    }
}

/// Google's own, which is all of Google's without what its customers can rent: as Google says to do it.
fn google(texts: &[String]) -> anyhow::Result<Vec<IpNet>> {
    #[derive(Deserialize)]
    struct Ranges {
        prefixes: Vec<Prefix>,
    }
    #[derive(Deserialize)]
    struct Prefix {
        #[serde(rename = "ipv4Prefix", alias = "ipv6Prefix")]
        prefix: IpNet,
    }
    let read = |text: &String| -> anyhow::Result<Vec<IpNet>> {
        let ranges: Ranges =
            serde_json::from_str(text).context("expected `prefixes` with `ipv4Prefix` or `ipv6Prefix`")?;
        merged(ranges.prefixes.into_iter().map(|prefix| prefix.prefix).collect())
    };
    merged(without(&read(&texts[0])?, &read(&texts[1])?))
}

/// `all` without the addresses of `gone`; both merged.
fn without(all: &[IpNet], gone: &[IpNet]) -> Vec<IpNet> {
    let mut left = Vec::new();
    for net in all {
        let inside = gone.iter().filter(|gone| net.contains(*gone));
        if gone.iter().any(|gone| gone.contains(net)) {
            continue;
        }
        // Merged prefixes do not overlap; in order, the space between two of them is what stays.
        match net {
            IpNet::V4(net) => {
                let mut cuts: Vec<(u128, u128)> = inside.filter_map(bounds).collect();
                cuts.sort_unstable();
                for (first, last) in
                    gaps(net.network().to_bits().into(), net.broadcast().to_bits().into(), &cuts)
                {
                    let address = |n: u128| Ipv4Addr::from_bits(n as u32);
                    left.extend(Ipv4Subnets::new(address(first), address(last), 0).map(IpNet::V4));
                }
            }
            IpNet::V6(net) => {
                let mut cuts: Vec<(u128, u128)> = inside.filter_map(bounds).collect();
                cuts.sort_unstable();
                for (first, last) in gaps(net.network().to_bits(), net.broadcast().to_bits(), &cuts) {
                    let address = Ipv6Addr::from_bits;
                    left.extend(Ipv6Subnets::new(address(first), address(last), 0).map(IpNet::V6));
                }
            }
        }
    }
    left
}

fn bounds(net: &IpNet) -> Option<(u128, u128)> {
    Some(match net {
        IpNet::V4(net) => (net.network().to_bits().into(), net.broadcast().to_bits().into()),
        IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
    })
}

fn gaps(first: u128, last: u128, cuts: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let (mut gaps, mut next) = (Vec::new(), Some(first));
    for &(cut_first, cut_last) in cuts {
        if let Some(from) = next.filter(|&from| from < cut_first) {
            gaps.push((from, cut_first - 1));
        }
        next = cut_last.checked_add(1).filter(|&next| next <= last);
    }
    gaps.extend(next.filter(|&from| from <= last).map(|from| (from, last)));
    gaps
}

/// The networks of Exchange Online Protection: those in front of `*.mail.protection.outlook.com`.
fn microsoft_eop(texts: &[String]) -> anyhow::Result<Vec<IpNet>> {
    #[derive(Deserialize)]
    struct Endpoint {
        #[serde(default)]
        urls: Vec<String>,
        #[serde(default)]
        ips: Vec<IpNet>,
    }
    let endpoints: Vec<Endpoint> =
        serde_json::from_str(&texts[0]).context("expected an array with `urls` and `ips`")?;
    let eop = |endpoint: &Endpoint| endpoint.urls.iter().any(|url| url == "*.mail.protection.outlook.com");
    let nets = endpoints.into_iter().filter(eop).flat_map(|endpoint| endpoint.ips).collect();
    merged(nets).context("expected an entry for *.mail.protection.outlook.com")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(name: &str, texts: &[&str]) -> anyhow::Result<Vec<String>> {
        let list = LISTS.iter().find(|list| list.name == name).unwrap();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Ok((list.read)(&texts)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_publication_is_read() {
        let csv =
            "172.224.226.0/31,GB,GB-EN,London,\n172.224.226.2/31,GB,GB-EN,London,\n2a02:26f7::/64,US,,,\n";
        assert_eq!(read("apple-egress.txt", &[csv]).unwrap(), ["172.224.226.0/30", "2a02:26f7::/64"]);
        let all =
            r#"{"syncToken":"1","prefixes":[{"ipv4Prefix":"8.8.0.0/22"},{"ipv6Prefix":"2001:4860::/32"}]}"#;
        let cloud = r#"{"prefixes":[{"ipv4Prefix":"8.8.1.0/24","service":"Google Cloud","scope":"us"},{"ipv6Prefix":"2600::/32"}]}"#;
        assert_eq!(
            read("google.txt", &[all, cloud]).unwrap(),
            ["8.8.0.0/24", "8.8.2.0/23", "2001:4860::/32"]
        );
        let endpoints = r#"[{"id":1,"urls":["outlook.office.com"],"ips":["40.96.0.0/13"]},{"id":2,"urls":["a"]},
            {"id":10,"urls":["*.mail.protection.outlook.com"],"ips":["40.92.0.0/15","2a01:111:f400::/48"]}]"#;
        assert_eq!(read("microsoft-eop.txt", &[endpoints]).unwrap(), ["40.92.0.0/15", "2a01:111:f400::/48"]);
        assert_eq!(read("vpn.txt", &["2.26.157.0/24\n", "# v6\n2001:db8::/48\n"]).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_publication_is_refused() {
        for (name, texts) in [
            ("apple-egress.txt", &["<html>sign in</html>"][..]),
            ("apple-egress.txt", &[""]),
            ("google.txt", &["{}", "{}"]),
            ("google.txt", &[r#"{"prefixes":[]}"#, r#"{"prefixes":[]}"#]),
            ("microsoft-eop.txt", &[r#"[{"id":1,"urls":["outlook.office.com"],"ips":["40.96.0.0/13"]}]"#]),
            ("vpn.txt", &["10.0.0.0/24", "nothing"]),
        ] {
            assert!(read(name, texts).is_err(), "{name} {texts:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_in_one_and_not_in_the_other(
            all in prop::collection::vec((any::<u32>(), 1u8..=32), 1..8),
            gone in prop::collection::vec((any::<u32>(), 1u8..=32), 1..8),
        ) {
            let nets = |list: Vec<(u32, u8)>| {
                let net = |(ip, len): (u32, u8)| IpNet::new(Ipv4Addr::from(ip).into(), len).unwrap().trunc();
                IpNet::aggregate(&list.into_iter().map(net).collect::<Vec<_>>())
            };
            let (all, gone) = (nets(all), nets(gone));
            let left = without(&all, &gone);
            let holds = |nets: &[IpNet], at: u32| nets.iter().any(|net| net.contains(&std::net::IpAddr::V4(at.into())));
            for edge in all.iter().chain(&gone).filter_map(bounds).flat_map(|(first, last)| [first, last]) {
                for at in [(edge as u32).wrapping_sub(1), edge as u32, (edge as u32).wrapping_add(1)] {
                    prop_assert_eq!(holds(&left, at), holds(&all, at) && !holds(&gone, at));
                }
            }
        }
    }
}
