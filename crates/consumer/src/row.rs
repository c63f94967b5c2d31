//! An event and what was found out about it, as a row.

use enrich::visits::{self, Visit};
use enrich::{Enriched, Verdict};
use event::{Event, Kind};
use store::{PastVisit, Row};

use crate::source::Part;

/// The row of an event that stood at `offset` of `part`.
pub fn row<'a>(event: &Event<'a>, found: &'a Enriched<'_>, part: &'a Part, offset: u64) -> Row<'a> {
    Row {
        workspace: event.workspace,
        message: event.message,
        recipient: event.recipient,
        received_at_ms: event.received_at_ms,
        kind: event.kind as u8,
        link: event.link,
        target: event.target,
        sent_at_ms: event.sent_at_ms,
        position: event.position as u8,
        mode: event.mode as u8,
        region_claim: event.region as u8,
        trap: event.trap,
        method: event.method as u8,
        verdict: found.verdict as u8,
        reasons: &found.reasons,
        confidence: found.confidence as u8,
        ruleset: found.ruleset,
        network: found.network,
        device: found.device as u8,
        os: found.os,
        os_version: found.os_version,
        client: found.client,
        client_version: found.client_version,
        device_trust: found.device_trust as u8,
        country: found.country,
        region: found.region,
        city: found.city,
        latitude: found.latitude,
        longitude: found.longitude,
        accuracy_km: found.accuracy_km,
        time_zone: found.time_zone,
        geo_trust: found.geo_trust as u8,
        geo_version: found.geo_version,
        region_class: found.region_class as u8,
        local_hour: found.local_hour.unwrap_or(255),
        local_weekday: found.local_weekday.unwrap_or(0),
        address: found.address,
        user_agent: event.user_agent,
        accept_language: event.accept_language,
        referer: event.referer,
        host: event.host,
        http_version: event.http_version as u8,
        dnt: event.dnt,
        sec_gpc: event.sec_gpc,
        replay: event.replay,
        domain: event.domain,
        profile_country: event.country,
        profile_time_zone: event.time_zone,
        corrects: &[],
        k_topic: &part.topic,
        k_part: part.number,
        k_off: offset,
        edge_id: event.edge_id,
        seq: event.seq,
    }
}

/// A stored event as a visit that others are judged by.
pub fn past(row: &PastVisit) -> Visit {
    Visit {
        id: (row.edge_id, row.seq),
        offset: row.k_off,
        workspace: row.workspace,
        message: row.message,
        recipient: row.recipient,
        source: visits::source(row.address.octets(), &row.user_agent, row.recipient),
        kind: Kind::try_from(i32::from(row.kind)).unwrap_or_default(),
        link: row.link,
        trap: row.trap,
        received_at_ms: row.received_at_ms,
        verdict: Verdict::stored(row.verdict),
    }
}

/// A correction as it is stored in the row of the event that led to it.
pub fn correction(found: &visits::Correction) -> store::Correction {
    let visits::Correction { visit, finding } = found;
    store::Correction {
        edge_id: visit.id.0,
        seq: visit.id.1,
        received_at_ms: visit.received_at_ms,
        recipient: visit.recipient,
        kind: visit.kind as u8,
        link: visit.link,
        verdict: finding.verdict as u8,
        confidence: finding.confidence as u8,
        reason: finding.reason,
    }
}
