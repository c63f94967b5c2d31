//! Whose network an address belongs to, as far as that says something about a visit.

mod asn;
mod list;
mod owner;
mod ranges;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::tables::{Asset, TableError};
use asn::AsnDatabases;
use list::List;
use ranges::Both;

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

/// The known networks. Looked up by longest prefix, then by the number of the network (ASN) if there is a database; the
/// list of data centres is asked last, since it is broad and holds the egress of gateways and relays as well.
#[derive(Debug)]
pub struct Networks {
    named: Both,
    by_asn: Option<AsnDatabases>,
    data_centres: Both,
    lists: Vec<Asset>,
}

impl Networks {
    /// The networks that are built in: see `data/networks/README.md` for sources, licences and dates.
    ///
    /// # Panics
    /// When a built-in list has a line that cannot be read: a test holds that it has none.
    pub fn built_in() -> Networks {
        Networks::load(None, &[]).expect("a test reads the built-in lists")
    }

    /// The networks that are built in, but for those lists that have a file of their name in `dir`, and ASN databases:
    /// none, one, or one each for IPv4 and IPv6.
    ///
    /// # Errors
    /// When a file cannot be read. The error names it, the line and what was expected.
    pub fn load(dir: Option<&Path>, asn_files: &[PathBuf]) -> Result<Networks, TableError> {
        let files = dir.map(list::files).transpose()?.unwrap_or_default();
        let (mut named, mut servers, mut numbers, mut lists) =
            (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
        for list in &list::LISTS {
            let file = files.iter().find(|(of, _)| of.name == list.name);
            let read = match file {
                Some((_, file)) => Some(list.load(file)?),
                None => list.built_in(),
            };
            let Some(List { rows, asset }) = read else { continue };
            let spans = if list.name == list::DATA_CENTRES { &mut servers } else { &mut named };
            for row in rows {
                let Some(owner) = row.owner else { continue };
                spans.extend(row.prefix.map(|prefix| ranges::span(prefix, owner)));
                if row.asn != 0 {
                    numbers.entry(row.asn).or_insert(owner);
                }
            }
            lists.push(asset);
        }
        let by_asn = if asn_files.is_empty() { None } else { Some(AsnDatabases::load(asn_files, numbers)?) };
        Ok(Networks { named: Both::new(named), by_asn, data_centres: Both::new(servers), lists })
    }

    /// The network that holds `address`, if it is a known one.
    pub fn find(&self, address: IpAddr) -> Option<Network> {
        let by_asn = || self.by_asn.as_ref()?.find(address);
        let index = self.named.find(address).or_else(by_asn).or_else(|| self.data_centres.find(address))?;
        Some(owner::network(index))
    }

    /// The number of the network (ASN) of an address; none without a database.
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        self.by_asn.as_ref()?.number(address)
    }

    /// What the lists and ASN databases are and where they came from.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.lists.iter().chain(self.by_asn.iter().flat_map(AsnDatabases::assets))
    }
}

/// The text of a list as it is built in, by its name; none when it is not.
pub fn built_in_list(name: &str) -> Option<&'static str> {
    list::LISTS.iter().find(|list| list.name == name).map(|list| list.text).filter(|text| !text.is_empty())
}

/// Reads a file as the list of a name, and says what it is.
///
/// # Errors
/// When it cannot take the place of that list.
pub fn read_list(name: &str, file: &Path) -> Result<Asset, TableError> {
    match list::LISTS.iter().find(|list| list.name == name) {
        Some(list) => Ok(list.load(file)?.asset),
        None => Err(TableError::NoSuchList { file: file.to_owned() }),
    }
}

/// The list as it is built in; none when it is not.
pub fn built_in_asset(name: &str) -> Option<Asset> {
    Some(list::LISTS.iter().find(|list| list.name == name)?.built_in()?.asset)
}

pub(crate) use list::files as list_files;

/// For whoever gave a file another name.
pub(crate) fn list_names() -> String {
    list::LISTS.map(|list| list.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
