//! Whose network an address belongs to, as far as that says something about a visit.

use std::net::IpAddr;

use ipnet::IpNet;

/// What being in a network says about a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkKind {
    /// Published as a mail scanner's own: nobody reads mail there.
    Scanner,
    /// A mail security vendor's: a scanner as a rule, but some vendors' isolated browsers are people.
    LikelyScanner,
    /// A mailbox provider's. On an open a person may stand behind it; a person's click comes from elsewhere.
    Mailbox,
    /// Proton's mail servers, which load images before the reader opens. Not Proton's VPN.
    Preload,
    /// Apple's egress for Mail Privacy Protection and iCloud Private Relay.
    AppleEgress,
    /// People's browsers leave through it: secure web gateways, VPNs, Apple's own offices. Never a machine's sign.
    Gateway,
    /// Servers: a cloud, a hoster, a social network's link previews.
    DataCentre,
}

/// A known network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// What it says about a visit.
    pub kind: NetworkKind,
    /// Who runs it, as a short word.
    pub owner: &'static str,
}

/// The known networks. Looked up by longest prefix; the list of data centres is asked last, since it is broad and
/// holds the egress of gateways and relays as well.
#[derive(Debug)]
pub struct Networks {
    named: Both,
    data_centres: Both,
}

impl Networks {
    /// The networks that are built in: see `data/networks/README.md` for sources, licences and dates.
    ///
    /// # Panics
    /// When a built-in list has a line that cannot be read: a test holds that it has none.
    pub fn built_in() -> Networks {
        let mut named = Vec::new();
        for line in rows(PUBLISHED).chain(rows(VENDORS)) {
            let mut columns = line.split('\t');
            let mut column = || columns.next().unwrap_or_default();
            let (vendor, asn, prefix) = (column(), column(), column());
            if let Some(index) = owner(vendor, asn) {
                named.push(span(prefix, index));
            }
        }
        for (text, name) in LISTS {
            let index = owner(name, "").expect("every list has an owner");
            named.extend(rows(text).map(|prefix| span(prefix, index)));
        }
        let index = owner("data-centre", "").expect("the table names it");
        let servers =
            rows(DATA_CENTRES_V4).chain(rows(DATA_CENTRES_V6)).map(|prefix| span(prefix, index)).collect();
        Networks { named: Both::new(named), data_centres: Both::new(servers) }
    }

    /// The network that holds `address`, if it is a known one.
    pub fn find(&self, address: IpAddr) -> Option<Network> {
        let index = self.named.find(address).or_else(|| self.data_centres.find(address))?;
        let (_, _, kind, owner) = OWNERS[usize::from(index)];
        Some(Network { kind, owner })
    }
}

const PUBLISHED: &str = include_str!("../data/networks/published.tsv");
const VENDORS: &str = include_str!("../data/networks/vendors.tsv");
const DATA_CENTRES_V4: &str = include_str!("../data/networks/data-centres-v4.txt");
const DATA_CENTRES_V6: &str = include_str!("../data/networks/data-centres-v6.txt");

/// Lists that hold one owner's prefixes, one a line. Of equal prefixes the one listed first wins.
const LISTS: [(&str, &str); 6] = [
    (include_str!("../data/networks/apple-egress-v4.txt"), "apple-egress"),
    (include_str!("../data/networks/apple-egress-v6.txt"), "apple-egress"),
    (include_str!("../data/networks/vpn-v4.txt"), "vpn"),
    (include_str!("../data/networks/vpn-v6.txt"), "vpn"),
    (include_str!("../data/networks/microsoft-v4.txt"), "microsoft"),
    (include_str!("../data/networks/microsoft-v6.txt"), "microsoft"),
];

/// What each vendor of the lists is: vendor, its ASN where one vendor is several things (else any), kind, owner.
/// The first row that fits wins; a vendor without a row says nothing.
const OWNERS: [(&str, &str, NetworkKind, &str); 42] = {
    use NetworkKind::{AppleEgress, DataCentre, Gateway, LikelyScanner, Mailbox, Preload, Scanner};
    [
        ("microsoft-eop", "", Scanner, "microsoft-eop"),
        ("barracuda", "", Scanner, "barracuda"),
        ("proofpoint", "", LikelyScanner, "proofpoint"),
        ("mimecast", "", LikelyScanner, "mimecast"),
        ("cisco-ironport", "", LikelyScanner, "ironport"),
        ("trend-micro", "", LikelyScanner, "trend-micro"),
        ("trellix-fireeye", "", LikelyScanner, "trellix"),
        ("forcepoint", "", LikelyScanner, "forcepoint"),
        ("sophos", "", LikelyScanner, "sophos"),
        // Harmony Connect and SASE: people's browsers.
        ("check-point", "398391", Gateway, "check-point-sse"),
        ("check-point", "213176", Gateway, "check-point-sse"),
        ("check-point", "", LikelyScanner, "check-point"),
        ("hornetsecurity", "", LikelyScanner, "hornetsecurity"),
        ("cyren", "", LikelyScanner, "cyren"),
        ("abnormal", "", LikelyScanner, "abnormal"),
        ("retarus", "", LikelyScanner, "retarus"),
        ("bitdefender", "", LikelyScanner, "bitdefender"),
        ("kaspersky", "", LikelyScanner, "kaspersky"),
        ("trustwave", "", LikelyScanner, "trustwave"),
        ("zscaler", "", Gateway, "zscaler"),
        ("netskope", "", Gateway, "netskope"),
        ("cisco-opendns-umbrella", "", Gateway, "umbrella"),
        // Prisma Access, FortiSASE and the McAfee web gateway send people's browsers out of the vendor's network.
        ("palo-alto", "", Gateway, "palo-alto"),
        ("fortinet", "", Gateway, "fortinet"),
        ("mcafee", "", Gateway, "mcafee"),
        ("vpn", "", Gateway, "vpn"),
        ("proxy-apple", "", Gateway, "apple"),
        ("apple-egress", "", AppleEgress, "apple-egress"),
        // The networks that Apple's egress is in, where its list does not reach.
        ("relay-apple-egress", "", Gateway, "apple-relay"),
        ("proxy-proton", "62371", Preload, "proton"),
        ("proxy-proton", "", Gateway, "proton-vpn"),
        ("proxy-google", "", Mailbox, "google"),
        ("proxy-yahoo", "", Mailbox, "yahoo"),
        ("microsoft", "", Mailbox, "microsoft"),
        ("proxy-yandex", "", Mailbox, "yandex"),
        ("proxy-fastmail", "", Mailbox, "fastmail"),
        ("proxy-rambler", "", Mailbox, "rambler"),
        ("proxy-seznam", "", Mailbox, "seznam"),
        ("preview-facebook", "", DataCentre, "facebook"),
        ("preview-linkedin", "", DataCentre, "linkedin"),
        ("preview-telegram", "", DataCentre, "telegram"),
        ("data-centre", "", DataCentre, "data-centre"),
    ]
};

fn owner(vendor: &str, asn: &str) -> Option<u8> {
    let fits = |row: &(&str, &str, NetworkKind, &str)| row.0 == vendor && (row.1.is_empty() || row.1 == asn);
    OWNERS.iter().position(fits).map(|index| index as u8)
}

fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The first and last address of a prefix, and whose it is.
struct Span {
    v4: bool,
    first: u128,
    last: u128,
    owner: u8,
}

fn span(prefix: &str, owner: u8) -> Span {
    let net: IpNet = prefix.parse().unwrap_or_else(|_| panic!("{prefix:?} is not a network prefix"));
    match net {
        IpNet::V4(net) => Span {
            v4: true,
            first: net.network().to_bits().into(),
            last: net.broadcast().to_bits().into(),
            owner,
        },
        IpNet::V6(net) => {
            Span { v4: false, first: net.network().to_bits(), last: net.broadcast().to_bits(), owner }
        }
    }
}

#[derive(Debug)]
struct Both {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Both {
    fn new(spans: Vec<Span>) -> Both {
        let (v4, v6) = spans.into_iter().partition(|span| span.v4);
        Both { v4: Ranges::flatten(v4), v6: Ranges::flatten(v6) }
    }

    fn find(&self, address: IpAddr) -> Option<u8> {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()),
        }
    }
}

/// Disjoint ranges in ascending order. The starts stand by themselves: the search touches nothing else.
#[derive(Debug)]
struct Ranges<N> {
    firsts: Vec<N>,
    rest: Vec<(N, u8)>,
}

impl<N: Copy + Ord + TryFrom<u128>> Ranges<N> {
    fn find(&self, address: N) -> Option<u8> {
        let index = self.firsts.partition_point(|first| *first <= address).checked_sub(1)?;
        let (last, owner) = self.rest[index];
        (address <= last).then_some(owner)
    }

    /// Cuts nested prefixes into disjoint ranges, each with the owner of the longest prefix that covers it.
    fn flatten(mut spans: Vec<Span>) -> Ranges<N> {
        // Outer before inner. The sort is stable: of equal prefixes the first one given stays in front.
        spans.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
        spans.dedup_by(|later, earlier| (later.first, later.last) == (earlier.first, earlier.last));
        let mut ranges: Vec<(u128, u128, u8)> = Vec::new();
        // The open prefixes, outermost first, and the first address not yet given to one.
        let mut open: Vec<(u128, u8)> = Vec::new();
        let mut next = 0;
        for span in &spans {
            close(&mut open, &mut next, Some(span.first), &mut ranges);
            if let Some(&(_, owner)) = open.last()
                && next < span.first
            {
                emit(&mut ranges, next, span.first - 1, owner);
            }
            next = span.first;
            open.push((span.last, span.owner));
        }
        close(&mut open, &mut next, None, &mut ranges);

        let narrow = |n: u128| N::try_from(n).ok().expect("an address of its own family");
        Ranges {
            firsts: ranges.iter().map(|range| narrow(range.0)).collect(),
            rest: ranges.iter().map(|range| (narrow(range.1), range.2)).collect(),
        }
    }
}

/// Ends the open prefixes that end before `at`; all of them without one.
fn close(open: &mut Vec<(u128, u8)>, next: &mut u128, at: Option<u128>, ranges: &mut Vec<(u128, u128, u8)>) {
    while let Some(&(last, owner)) = open.last() {
        if at.is_some_and(|at| last >= at) {
            return;
        }
        open.pop();
        // An inner prefix may have reached its outer one's end.
        if *next <= last {
            emit(ranges, *next, last, owner);
            *next = last.saturating_add(1);
        }
    }
}

fn emit(ranges: &mut Vec<(u128, u128, u8)>, first: u128, last: u128, owner: u8) {
    match ranges.last_mut() {
        Some(before) if before.2 == owner && before.1.checked_add(1) == Some(first) => before.1 = last,
        _ => ranges.push((first, last, owner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(networks: &Networks, text: &str) -> Option<(NetworkKind, &'static str)> {
        networks.find(text.parse().unwrap()).map(|network| (network.kind, network.owner))
    }

    #[test]
    fn built_in_lists_answer_for_known_addresses() {
        use NetworkKind::*;
        let networks = Networks::built_in();
        for (address, wanted) in [
            ("40.92.3.4", Some((Scanner, "microsoft-eop"))),
            ("104.47.1.1", Some((Scanner, "microsoft-eop"))),
            ("2a01:111:f403::1", Some((Scanner, "microsoft-eop"))),
            ("40.126.0.1", Some((Mailbox, "microsoft"))),
            ("209.222.82.10", Some((Scanner, "barracuda"))),
            ("35.176.92.97", Some((Scanner, "barracuda"))),
            ("148.163.150.1", Some((LikelyScanner, "proofpoint"))),
            ("66.249.84.1", Some((Mailbox, "google"))),
            ("104.28.28.1", Some((AppleEgress, "apple-egress"))),
            ("::ffff:104.28.28.1", Some((AppleEgress, "apple-egress"))),
            ("2a02:26f7:b00a:4000::1", Some((AppleEgress, "apple-egress"))),
            ("185.70.40.1", Some((Preload, "proton"))),
            ("1.12.0.1", Some((DataCentre, "data-centre"))),
            ("203.0.113.7", None),
            ("2001:db8::1", None),
            ("255.255.255.255", None),
            ("0.0.0.0", None),
        ] {
            assert_eq!(found(&networks, address), wanted, "{address}");
        }
    }

    #[test]
    fn every_vendor_of_the_list_is_named_or_left_out_on_purpose() {
        // Mailboxes without an image proxy that is known: their networks say nothing of a visit.
        let silent = ["proxy-mailru-vk", "proxy-naver", "preview-twitter"];
        for line in rows(VENDORS).chain(rows(PUBLISHED)) {
            let mut columns = line.split('\t');
            let (vendor, asn) = (columns.next().unwrap(), columns.next().unwrap());
            assert!(owner(vendor, asn).is_some() || silent.contains(&vendor), "{line}");
        }
    }

    proptest! {
        /// The flat ranges answer as a search over all prefixes for the longest one does.
        #[test]
        fn flat_ranges_are_longest_prefix(
            nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..40), probes in prop::collection::vec(any::<u32>(), 20)
        ) {
            let nets: Vec<ipnet::Ipv4Net> =
                nets.into_iter().map(|(ip, len)| ipnet::Ipv4Net::new(ip.into(), len).unwrap().trunc()).collect();
            let spans = nets.iter().enumerate().map(|(n, net)| span(&net.to_string(), n as u8)).collect();
            let ranges = Ranges::<u32>::flatten(spans);
            let edges = nets.iter().flat_map(|net| [net.network().to_bits(), net.broadcast().to_bits()]);
            for probe in probes.into_iter().chain(edges) {
                let longest = nets
                    .iter()
                    .enumerate()
                    .filter(|(_, net)| net.contains(&std::net::Ipv4Addr::from_bits(probe)))
                    // the longest; of equal ones the first
                    .max_by_key(|(n, net)| (net.prefix_len(), usize::MAX - n))
                    .map(|(n, _)| n as u8);
                prop_assert_eq!(ranges.find(probe), longest);
            }
        }
    }
}
