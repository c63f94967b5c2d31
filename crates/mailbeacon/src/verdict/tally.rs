//! What came of a set of visits.

use std::collections::BTreeMap;

use anyhow::ensure;
use enrich::{DeviceType, Verdict};
use serde_json::{Map, Value, json};

use super::line::{Device, Expected, is_machine};

/// The name of the sum of all sets.
pub const ALL: &str = "all";

/// How many sets one run tells apart.
const SETS_MAX: usize = 1_000;

/// What came of each set, and of all.
#[derive(Debug, Default)]
pub struct Sets {
    sets: BTreeMap<String, Tally>,
    all: Tally,
}

/// What was expected of a visit, and what was found.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Who was expected.
    pub expected: Expected,
    /// With what, when that is known.
    pub device: Option<Device>,
    /// Who was found.
    pub verdict: Verdict,
    /// With what.
    pub kind: DeviceType,
}

/// How many of a kind there were, and of how many of them something is so.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    part: u64,
    whole: u64,
}

/// What came of one set.
#[derive(Debug, Default)]
pub struct Tally {
    lines: u64,
    bots_found: Share,
    humans_flagged: Share,
    proxies_found: Share,
    /// By [`Device`]'s number.
    devices_right: [Share; Device::ALL.len()],
    phones_called_tablets: Share,
}

impl Sets {
    /// Counts a visit in its set.
    pub fn add(&mut self, set: &str, outcome: Outcome) -> anyhow::Result<()> {
        if !self.sets.contains_key(set) {
            ensure!(
                self.sets.len() < SETS_MAX,
                "one set too many: expected at most {SETS_MAX} names of sets"
            );
            self.sets.insert(set.to_owned(), Tally::default());
        }
        for tally in self.sets.get_mut(set).into_iter().chain([&mut self.all]) {
            tally.add(outcome);
        }
        Ok(())
    }

    /// The sets by name, and then all.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tally)> {
        self.sets.iter().map(|(name, tally)| (name.as_str(), tally)).chain([(ALL, &self.all)])
    }
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        let Outcome { expected, device, verdict, kind } = outcome;
        self.lines += 1;
        match expected {
            Expected::Bot => self.bots_found.count(is_machine(verdict)),
            Expected::Human => self.humans_flagged.count(is_machine(verdict)),
            Expected::Proxy => self.proxies_found.count(verdict == Verdict::Proxy),
        }
        if let Some(device) = device {
            self.devices_right[device as usize].count(device.kind() == kind);
        }
        if device == Some(Device::Phone) {
            self.phones_called_tablets.count(kind == DeviceType::Tablet);
        }
    }

    /// As one object.
    pub fn json(&self, set: &str) -> Value {
        let right: Map<String, Value> =
            self.devices().map(|(name, share)| (name.to_owned(), share.json())).collect();
        json!({
            "set": set,
            "lines": self.lines,
            "bot_recall": self.bots_found.json(),
            "human_false_positive": self.humans_flagged.json(),
            "proxy_recall": self.proxies_found.json(),
            "device_right": right,
            "phones_called_tablets": self.phones_called_tablets.json(),
        })
    }

    /// As a row of a table, under [`HEADINGS`].
    pub fn row(&self, set: &str) -> Vec<String> {
        let shares = [self.bots_found, self.humans_flagged, self.proxies_found];
        let devices = self.devices().filter(|(_, share)| share.whole > 0);
        let right: Vec<String> = devices.map(|(name, share)| format!("{name} {}", share.text())).collect();
        [set.to_owned(), self.lines.to_string()]
            .into_iter()
            .chain(shares.map(Share::text))
            .chain([self.phones_called_tablets.text(), right.join(", ")])
            .collect()
    }

    fn devices(&self) -> impl Iterator<Item = (&'static str, Share)> {
        Device::ALL.iter().zip(self.devices_right).map(|((_, kind), share)| (kind.as_str(), share))
    }
}

/// Of [`Tally::row`].
pub const HEADINGS: [&str; 7] = [
    "set",
    ">lines",
    ">bots found",
    ">humans flagged",
    ">proxies found",
    ">phones called tablets",
    "devices right",
];

impl Share {
    fn count(&mut self, is_so: bool) {
        self.part += u64::from(is_so);
        self.whole += 1;
    }

    fn fraction(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }

    fn json(self) -> Value {
        self.fraction().map_or(Value::Null, Value::from)
    }

    fn text(self) -> String {
        self.fraction().map_or("-".to_owned(), |share| format!("{:.2} % of {}", 100.0 * share, self.whole))
    }
}
