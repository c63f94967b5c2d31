//! Lists of networks: those that are built in, and the files that replace them.

use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::owner;
use crate::tables::{Asset, TableError};

/// A list by its name.
pub(crate) struct Named {
    /// Also the name of the file that replaces it, with the extension.
    pub name: &'static str,
    /// What its prefixes are the networks of; empty when each line says it.
    pub vendor: &'static str,
    /// As it is built in; empty when there is only a file, if any.
    pub text: &'static str,
}

/// The lists. Of equal prefixes the one of the earlier list wins; the data centres are asked by themselves.
pub(crate) const LISTS: [Named; 8] = [
    Named {
        name: "microsoft-eop.txt",
        vendor: "microsoft-eop",
        text: include_str!("../../data/networks/microsoft-eop.txt"),
    },
    Named {
        name: "barracuda.txt",
        vendor: "barracuda",
        text: include_str!("../../data/networks/barracuda.txt"),
    },
    Named { name: "vendors.tsv", vendor: "", text: include_str!("../../data/networks/vendors.tsv") },
    Named {
        name: "apple-egress.txt",
        vendor: "apple-egress",
        text: include_str!("../../data/networks/apple-egress.txt"),
    },
    Named { name: "vpn.txt", vendor: "vpn", text: include_str!("../../data/networks/vpn.txt") },
    // Not built in: the prefixes of Google's ASN among the vendors serve until a file says it more exactly.
    Named { name: "google.txt", vendor: "proxy-google", text: "" },
    Named {
        name: "microsoft.txt",
        vendor: "microsoft",
        text: include_str!("../../data/networks/microsoft.txt"),
    },
    Named {
        name: DATA_CENTRES,
        vendor: "data-centre",
        text: include_str!("../../data/networks/data-centres.txt"),
    },
];

/// The list that is asked last.
pub(crate) const DATA_CENTRES: &str = "data-centres.txt";

/// The largest list that is built in has 1 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The broadest prefixes that a list may hold, by their bits. The broadest that is published has 9 (24 of IPv6); one
/// that is broader is a slip which would call half of all visits machines.
const BITS_MIN_V4: u8 = 8;
const BITS_MIN_V6: u8 = 19;

/// A list that was read.
#[derive(Debug)]
pub(crate) struct List {
    pub rows: Vec<Row>,
    pub asset: Asset,
}

/// A line of a list.
#[derive(Debug)]
pub(crate) struct Row {
    /// What the network is; none when that says nothing.
    pub owner: Option<u8>,
    /// Of whom, where the list says it; else 0.
    pub asn: u32,
    /// None where a vendor has no more than its number.
    pub prefix: Option<IpNet>,
}

/// What is wrong in a line, and what was expected.
type Wrong = (usize, &'static str);

impl Named {
    /// The list as it is built in, if it is.
    pub fn built_in(&self) -> Option<List> {
        if self.text.is_empty() {
            return None;
        }
        let list = read(self, self.text, None);
        Some(list.unwrap_or_else(|(line, expected)| panic!("{} line {line}: expected {expected}", self.name)))
    }

    /// The list as a file has it.
    pub fn load(&self, file: &Path) -> Result<List, TableError> {
        let text = text(file)?;
        read(self, &text, Some(file)).map_err(|(line, expected)| TableError::List {
            file: file.to_owned(),
            line,
            expected,
        })
    }
}

/// The files in a directory that replace lists. Anything that looks like a list and has no list's name is an error: a
/// slip in a name would leave an old list in force and say nothing. Other files may lie there.
pub(crate) fn files(dir: &Path) -> Result<Vec<(&'static Named, PathBuf)>, TableError> {
    let unreadable = |source| TableError::Directory { dir: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        match LISTS.iter().find(|list| list.name == name) {
            Some(list) => found.push((list, dir.join(name))),
            None if name.ends_with(".txt") || name.ends_with(".tsv") => {
                return Err(TableError::NoSuchList { file: dir.join(name) });
            }
            None => {}
        }
    }
    found.sort_by_key(|(list, _)| list.name);
    Ok(found)
}

fn text(file: &Path) -> Result<String, TableError> {
    let unreadable = |source| TableError::ReadList { file: file.to_owned(), source };
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(TableError::TooLarge { file: file.to_owned(), bytes, bytes_max: FILE_BYTES_MAX });
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

fn read(list: &Named, text: &str, file: Option<&Path>) -> Result<List, Wrong> {
    let mut asset = Asset {
        name: list.name.to_owned(),
        file: file.map(Path::to_owned),
        bytes: text.len() as u64,
        ..Asset::default()
    };
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |expected| (index + 1, expected);
        let line = line.trim_end();
        if let Some(comment) = line.strip_prefix('#') {
            if let Some((key, value)) = comment.split_once(':') {
                head(&mut asset, key.trim(), value.trim()).map_err(wrong)?;
            }
        } else if !line.is_empty() {
            rows.push(row(list, line).map_err(wrong)?);
        }
    }
    asset.entries = rows.len() as u64;
    match rows.is_empty() {
        true => Err((text.lines().count().max(1), "at least one network: an empty list is a broken one")),
        false => Ok(List { rows, asset }),
    }
}

/// A line of the head, `# source: ...`, `# licence: ...`, `# date: ...`; any other comment is none.
fn head(asset: &mut Asset, key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "source" => value.clone_into(&mut asset.source),
        "licence" => value.clone_into(&mut asset.licence),
        "date" if is_date(value) => value.clone_into(&mut asset.date),
        "date" => return Err("a date such as 2026-08-31 or 2026-08"),
        _ => {}
    }
    Ok(())
}

fn is_date(text: &str) -> bool {
    let day = if text.len() == 7 { format!("{text}-01") } else { text.to_owned() };
    day.len() == 10 && day.parse::<jiff::civil::Date>().is_ok()
}

fn row(list: &Named, line: &str) -> Result<Row, &'static str> {
    if !list.vendor.is_empty() {
        return Ok(Row { owner: owner::owner(list.vendor, ""), asn: 0, prefix: Some(prefix(line)?) });
    }
    let columns: Vec<&str> = line.split('\t').collect();
    let [vendor, asn, net] = columns[..] else {
        return Err("three columns with tabs between: vendor, ASN, prefix");
    };
    if !owner::is_known(vendor) {
        return Err("a vendor that is known, in the first column (the list that is built in has them)");
    }
    let Ok(number) = asn.parse::<u32>() else { return Err("the number of an ASN in the second column") };
    let prefix = if net == "-" { None } else { Some(prefix(net)?) };
    Ok(Row { owner: owner::owner(vendor, asn), asn: number, prefix })
}

fn prefix(text: &str) -> Result<IpNet, &'static str> {
    let Ok(net) = text.parse::<IpNet>() else { return Err("a network prefix such as 203.0.113.0/24") };
    let bits_min = if net.addr().is_ipv4() { BITS_MIN_V4 } else { BITS_MIN_V6 };
    if net.prefix_len() < bits_min {
        return Err("a prefix of at least 8 bits (19 of IPv6): nobody has a network as broad as this one");
    }
    if net.trunc() != net {
        return Err("a network's first address, not one inside it");
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_lists_can_be_read_and_say_where_they_are_from() {
        for list in LISTS.iter().filter(|list| !list.text.is_empty()) {
            let List { asset, .. } = list.built_in().unwrap();
            assert!(!asset.source.is_empty() && !asset.licence.is_empty(), "{}", list.name);
            assert!(is_date(&asset.date), "{}", list.name);
            assert!(list.vendor.is_empty() || owner::owner(list.vendor, "").is_some(), "{}", list.name);
        }
    }

    #[test]
    fn a_broken_line_is_named_with_what_was_expected() {
        let [prefixes, vendors] =
            ["vpn.txt", "vendors.tsv"].map(|name| LISTS.iter().find(|list| list.name == name).unwrap());
        for (list, text, line, expected) in [
            (prefixes, "203.0.113.0/24\n\n203.0.113.0\n", 3, "a network prefix"),
            (prefixes, "# date: 2026-13\n203.0.113.0/24\n", 1, "a date"),
            (prefixes, "203.0.113.9/24\n", 1, "first address"),
            (prefixes, "0.0.0.0/0\n", 1, "at least 8 bits"),
            (prefixes, "2000::/3\n", 1, "at least 8 bits"),
            (prefixes, "# nothing\n", 1, "at least one network"),
            (prefixes, "<html>\n", 1, "a network prefix"),
            (vendors, "proofpoint\t22843\n", 1, "three columns"),
            (vendors, "prooofpoint\t22843\t203.0.113.0/24\n", 1, "a vendor that is known"),
            (vendors, "proofpoint\tAS22843\t203.0.113.0/24\n", 1, "the number of an ASN"),
            (vendors, "proofpoint\t22843\t203.0.113.0/33\n", 1, "a network prefix"),
        ] {
            let (at, found) = read(list, text, None).unwrap_err();
            assert!(at == line && found.contains(expected), "{text:?}: line {at}, expected {found}");
        }
    }
}
