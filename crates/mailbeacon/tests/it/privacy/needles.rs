//! Texts and numbers that occur in one request and nowhere else, in every form that they could be written down in.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use link::Keys;

/// A part of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The client's whole address.
    Address,
    /// Its /24 or /48, as text.
    Network,
    /// The recipient's key.
    Recipient,
    /// The headers that have a column: agent, language, referer.
    Text,
    /// The headers that have none: accept, via, sec-fetch-user.
    Header,
    /// Where the link goes.
    Target,
    /// What is of no use to anybody here: the sender's own id of the recipient, a cookie, a query, other headers.
    Never,
}

/// The needles of one request.
#[derive(Debug, Clone)]
pub struct Needle {
    pub number: u16,
    pub address: IpAddr,
    pub recipient: u64,
    is_link: bool,
}

/// Those of all requests.
#[derive(Debug, Default)]
pub struct Needles {
    pub all: Vec<Needle>,
}

impl Needles {
    /// Makes new ones: of a link's visit with an IPv6 address, else with an IPv4 address.
    pub fn add(&mut self, keys: &Keys, is_link: bool) -> Needle {
        let number = self.all.len() as u16 + 1;
        let address = match is_link {
            false => Ipv4Addr::new(23, number as u8, 58, 199).into(),
            true => {
                Ipv6Addr::new(0x2a05, 0x1000 + number, 0x4a4b, 0x5c6d, 0x7e8f, 0x9aab, 0xbccd, 0xdeef).into()
            }
        };
        let mut needle = Needle { number, address, recipient: 0, is_link };
        needle.recipient = keys.recipient(1, &needle.person());
        self.all.push(needle.clone());
        needle
    }
}

impl Needle {
    /// The sender's own id of the recipient.
    fn person(&self) -> String {
        format!("jane.doe.{}@needle.example", self.tag("person"))
    }

    fn tag(&self, name: &str) -> String {
        format!("needle{name}n{:03}x", self.number)
    }

    pub fn target(&self) -> String {
        format!("https://shop.example/{}", self.tag("target"))
    }

    /// What may be nowhere.
    pub fn never(&self) -> String {
        self.tag("never")
    }

    pub fn headers(&self) -> String {
        let tag = |name| self.tag(name);
        format!(
            "X-Forwarded-For: {}\r\n\
             User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
             Gecko) Mobile/15E148 {}\r\n\
             Accept-Language: de-{}\r\nReferer: https://mail.example/{}\r\n\
             Accept: image/{}\r\nVia: 1.1 {}\r\nSec-Fetch-User: {}\r\n\
             Cookie: id={never}\r\nX-Recipient: {}\r\nFrom: {never}\r\n",
            self.address,
            tag("agent"),
            tag("language"),
            tag("referer"),
            tag("accept"),
            tag("via"),
            tag("user"),
            self.person(),
            never = self.never(),
        )
    }

    pub fn address_bytes(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }

    /// What a request with it has.
    pub fn parts(&self) -> BTreeSet<What> {
        self.forms().into_iter().map(|(what, _)| what).collect()
    }

    /// Every form of every part.
    pub fn forms(&self) -> Vec<(What, Vec<u8>)> {
        let bytes = self.address_bytes();
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        let numbers = match self.address {
            IpAddr::V4(v4) => [v4.to_bits().to_string(), v4.to_bits().swap_bytes().to_string()],
            IpAddr::V6(v6) => [v6.to_bits().to_string(), v6.to_bits().swap_bytes().to_string()],
        };
        let [network, packed] = match self.address {
            IpAddr::V4(v4) => {
                [format!("{}.{}.{}.", v4.octets()[0], v4.octets()[1], v4.octets()[2]), String::new()]
            }
            IpAddr::V6(v6) => [0, 1].map(|plain| {
                let [a, b, c, ..] = v6.segments();
                if plain == 0 { format!("{a:x}:{b:x}:{c:x}:") } else { format!("{a:04x}{b:04x}{c:04x}") }
            }),
        };
        let key = self.recipient;
        let mut forms: Vec<(What, Vec<u8>)> = vec![
            (What::Address, self.address.to_string().into()),
            (What::Address, hex(&bytes).into()),
            (What::Address, hex(&reversed).into()),
            (What::Network, network.into()),
            (What::Recipient, key.to_string().into()),
            (What::Recipient, (key as i64).to_string().into()),
            (What::Recipient, format!("{key:016x}").into()),
            (What::Recipient, format!("{:016x}", key.swap_bytes()).into()),
            (What::Recipient, key.to_le_bytes().into()),
            (What::Recipient, key.to_be_bytes().into()),
            (What::Never, self.person().into()),
            (What::Never, self.never().into()),
        ];
        forms.extend(numbers.map(|number| (What::Address, number.into())));
        forms.extend([bytes, reversed].map(|bytes| (What::Address, bytes)));
        if !packed.is_empty() {
            forms.push((What::Network, packed.into()));
        }
        forms.extend(["agent", "language", "referer"].map(|name| (What::Text, self.tag(name).into())));
        forms.extend(["accept", "via", "user"].map(|name| (What::Header, self.tag(name).into())));
        if self.is_link {
            forms.push((What::Target, self.tag("target").into()));
        }
        // Hexadecimal digits are written in either case; raw bytes have none.
        let upper: Vec<_> = forms
            .iter()
            .filter(|(_, form)| form.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b':'))
            .map(|(what, form)| (*what, form.to_ascii_uppercase()))
            .collect();
        forms.extend(upper);
        forms
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
