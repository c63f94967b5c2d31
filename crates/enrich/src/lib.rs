//! From an event to an enriched one: the agent and device, the network, the verdict, the place and the region.
//!
//! Owns the rules and the built-in tables that they read. Tables are passed in; files are read in one place only,
//! [`Tables::read`]. Pure from there: the same event and the same tables give the same answer on every machine and
//! at any time. Reads no clock, draws no random number, drops no event and decides nothing about storage.

mod address;
mod agent;
mod crowd;
mod device;
mod locate;
mod mmdb;
mod network;
mod place;
mod region;
mod spot;
mod tables;
mod verdict;
pub mod visits;
mod zone;

use std::sync::Arc;

use event::{Event, Kind};

pub use address::{
    ADDRESS_SECRET_BYTES_MIN, AddressKey, AddressKeyError, AddressPolicy, KEPT_BITS_V4, KEPT_BITS_V6,
    address, truncate,
};
pub use crowd::{Crowd, crowd};
pub use device::{DeviceType, Trust};
pub use mmdb::FILES_MAX;
pub use network::{Network, NetworkKind, Networks, built_in_asset, built_in_list, read_list};
pub use place::{GeoDatabases, Place};
pub use region::{Evidence, RegionClass, is_eu_eea_uk, is_eu_eea_uk_zone, region_at};
pub use tables::{Asset, Sources, Stamps, TableError, Tables};
pub use verdict::{Confidence, RULESET, Reasons, Verdict};

use address::Addresses;
use agent::{Agent, Agents};
use locate::Located;
use spot::{Spot, Spots};

/// Enriches events, one after the other. One for each thread: it remembers the user agents and the places that it
/// has seen, a bounded number of each.
pub struct Enricher {
    /// What is read: the newest, or what a batch began with.
    tables: Arc<Tables>,
    newest: Arc<Tables>,
    agents: Agents,
    spots: Spots,
    addresses: Addresses,
    /// The agent and the place of the latest event, which its answer borrows.
    agent: Option<Arc<Agent>>,
    spot: Option<Arc<Spot>>,
}

/// What was found out about an event. Texts are empty where nothing is known.
#[derive(Debug, Clone, Copy)]
pub struct Enriched<'a> {
    /// Who made the visit.
    pub verdict: Verdict,
    /// Codes of all rules that spoke; the first one decided.
    pub reasons: Reasons,
    /// How sure the verdict is.
    pub confidence: Confidence,
    /// The version of the rules: [`RULESET`].
    pub ruleset: u16,
    /// Who runs the network that the address is in, as a short word, when it is one that says something of visits.
    pub network: &'static str,

    /// The kind of device.
    pub device: DeviceType,
    /// The operating system, in lower case.
    pub os: &'a str,
    /// Its major version, unless browsers have frozen what they say of it.
    pub os_version: &'a str,
    /// The mail client, browser, proxy or program, in lower case.
    pub client: &'a str,
    /// Its major version.
    pub client_version: &'a str,
    /// How far the device can be believed.
    pub device_trust: Trust,

    /// ISO 3166-1 alpha-2.
    pub country: &'a str,
    /// The largest part of the country, by its English name.
    pub region: &'a str,
    /// The city, by its English name.
    pub city: &'a str,
    /// Degrees north, or `NaN`.
    pub latitude: f32,
    /// Degrees east, or `NaN`.
    pub longitude: f32,
    /// The radius around the coordinates; 0 when not said.
    pub accuracy_km: u16,
    /// IANA name.
    pub time_zone: &'a str,
    /// How far the place can be believed.
    pub geo_trust: Trust,
    /// The type and build date of the database that gave the place; `sender` when the sender did.
    pub geo_version: &'a str,

    /// What this event says of the recipient's region, for the rule that forbids send times.
    pub region_class: RegionClass,
    /// The hour of the event by the clock of its time zone, 0 to 23.
    pub local_hour: Option<u8>,
    /// The ISO weekday by that clock, Monday is 1.
    pub local_weekday: Option<u8>,

    /// What may be stored of the client's address; zeros for none.
    pub address: [u8; 16],
}

impl Enricher {
    /// An enricher that reads `tables`.
    pub fn new(tables: Arc<Tables>) -> Enricher {
        let newest = tables.clone();
        let addresses = Addresses::new(AddressPolicy::default());
        let (agents, spots) = (Agents::new(), Spots::new());
        Enricher { tables, newest, agents, spots, addresses, agent: None, spot: None }
    }

    /// The same with another policy for addresses.
    pub fn with_addresses(self, policy: AddressPolicy) -> Enricher {
        Enricher { addresses: Addresses::new(policy), ..self }
    }

    /// Reads other tables from now on. What is remembered stays: user agents depend on no table, and places are
    /// remembered by the databases that they are from.
    pub fn set_tables(&mut self, tables: Arc<Tables>) {
        self.newest = tables.clone();
        self.tables = tables;
    }

    /// The newest tables, for a batch that begins.
    pub fn newest(&self) -> Arc<Tables> {
        self.newest.clone()
    }

    /// Reads what a batch began with, until it is told to read something else: all rows of a batch, also those that
    /// are enriched a second time, come from one set of tables.
    pub fn read(&mut self, tables: &Arc<Tables>) {
        if !Arc::ptr_eq(&self.tables, tables) {
            self.tables = tables.clone();
        }
    }

    /// Finds out what an event tells.
    pub fn enrich<'a>(&'a mut self, event: &'a Event<'_>) -> Enriched<'a> {
        let address = address(event.client_ip);
        let network = address.and_then(|address| self.tables.networks.find(address));
        let agent: &Agent = self.agent.insert(self.agents.find(event.user_agent));
        let judged = verdict::judge(event, agent, network);
        let located = match event.kind {
            Kind::Sent => Located::by_sender(event),
            Kind::Unspecified => Located::default(),
            Kind::Open | Kind::Click | Kind::Download => {
                let places = self.tables.place.as_deref();
                self.spot =
                    places.zip(address).and_then(|(places, address)| self.spots.find(places, address));
                // Only imported visits say where they were themselves.
                let says = !event.time_zone.is_empty() || !event.country.is_empty();
                if self.spot.is_none() && says {
                    Located::by_sender(event)
                } else {
                    Located::by_address(self.spot.as_deref(), network, judged.verdict, event.received_at_ms)
                }
            }
        };
        let device = &agent.device;
        let place = located.place;
        Enriched {
            verdict: judged.verdict,
            reasons: judged.reasons,
            confidence: judged.confidence,
            ruleset: RULESET,
            network: network.map_or("", |network| network.owner),
            device: device.kind,
            os: &device.os,
            os_version: &device.os_version,
            client: &device.client,
            client_version: &device.client_version,
            device_trust: device.trust,
            country: place.country,
            region: place.region,
            city: place.city,
            latitude: place.latitude,
            longitude: place.longitude,
            accuracy_km: place.accuracy_km,
            time_zone: place.time_zone,
            geo_trust: located.trust,
            geo_version: place.version,
            region_class: located.says.and(event.region.into()),
            local_hour: located.local.map(|(hour, _)| hour),
            local_weekday: located.local.map(|(_, weekday)| weekday),
            address: self.addresses.stored(address, event.received_at_ms),
        }
    }
}
