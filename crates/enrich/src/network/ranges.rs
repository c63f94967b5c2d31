//! Many prefixes as few ranges: which of them holds an address.

use std::net::IpAddr;

use ipnet::IpNet;

/// The first and last address of a prefix, and whose it is.
pub(crate) struct Span {
    v4: bool,
    first: u128,
    last: u128,
    owner: u8,
}

pub(crate) fn span(net: IpNet, owner: u8) -> Span {
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

/// Ranges of both families.
#[derive(Debug)]
pub(crate) struct Both {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Both {
    pub fn new(spans: Vec<Span>) -> Both {
        let (v4, v6) = spans.into_iter().partition(|span| span.v4);
        Both { v4: Ranges::flatten(v4), v6: Ranges::flatten(v6) }
    }

    /// The owner of the longest prefix that holds an address; of equal ones the first given.
    pub fn find(&self, address: IpAddr) -> Option<u8> {
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

    proptest! {
        /// The flat ranges answer as a search over all prefixes for the longest one does.
        #[test]
        fn flat_ranges_are_longest_prefix(
            nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..40), probes in prop::collection::vec(any::<u32>(), 20)
        ) {
            let nets: Vec<ipnet::Ipv4Net> =
                nets.into_iter().map(|(ip, len)| ipnet::Ipv4Net::new(ip.into(), len).unwrap().trunc()).collect();
            let spans = nets.iter().enumerate().map(|(n, net)| span((*net).into(), n as u8)).collect();
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
