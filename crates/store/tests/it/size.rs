//! What an event costs on disk, against the table that one would write first.

use store::{Block, Row, month};

use crate::engine::{self, today_ms, value};

const ROWS: u64 = 100_000;

/// Splitmix64: spreads a counter, so that the same rows come out on every run.
fn spread(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

/// One of `choices`, the first ones more often.
fn pick<'a>(choices: &[&'a str], seed: u64) -> &'a str {
    let unit = (seed % 10_007) as f64 / 10_007.0;
    choices[((unit * unit) * choices.len() as f64) as usize]
}

/// Varied events of 20 messages to 40,000 recipients over an hour, as a consumer would write them.
fn fill(block: &mut Block, texts: &Texts) {
    for n in 0..ROWS {
        let (a, b) = (spread(n), spread(n ^ 0xabcd_0000_0000));
        let recipient = spread(a % 40_000 + 7);
        let click = b.is_multiple_of(8);
        let (place, agent) = ((recipient % 300) as usize, (spread(recipient) % 200) as usize);
        let machine = a.is_multiple_of(5);
        block.push(&Row {
            workspace: 1 + (a % 3) as u32,
            message: spread(a % 20),
            recipient,
            received_at_ms: today_ms() + (n * 36) as i64 + (b % 30) as i64,
            kind: if click { 3 } else { 2 },
            link: if click { 1 + (b % 9) as u32 } else { 0 },
            target: if click { &texts.targets[(a % 20 * 9 + b % 9) as usize] } else { "" },
            sent_at_ms: today_ms() - (1 + (a % 20) as i64) * 3_600_000,
            position: (!click) as u8,
            mode: 1,
            region_claim: (recipient % 3) as u8,
            method: 1,
            verdict: if machine { 4 } else { 1 },
            reasons: if machine { &["scanner_network", "no_language"] } else { &["plain"] },
            confidence: 1 + (a % 3) as u8,
            ruleset: 3,
            device: 1 + (agent % 3) as u8,
            os: ["iOS", "Android", "Windows", "macOS"][agent % 4],
            os_version: pick(&["18.1", "15", "10", "14.6", "17.5", "11"], agent as u64 * 977),
            client: ["Apple Mail", "Gmail", "Outlook", "Thunderbird"][agent % 4],
            client_version: pick(&["", "128.5", "16.0"], agent as u64 * 577),
            device_trust: 2,
            country: ["US", "IN", "CH", "BR", "JP"][place % 5],
            region: &texts.places[place % 60],
            city: &texts.places[place],
            latitude: place as f32 / 3.0,
            longitude: place as f32 / 2.0,
            accuracy_km: 20,
            time_zone: [
                "America/Chicago",
                "Asia/Kolkata",
                "Europe/Zurich",
                "America/Sao_Paulo",
                "Asia/Tokyo",
            ][place % 5],
            geo_trust: 2,
            geo_version: "dbip-2026-11",
            region_class: 2,
            local_hour: (place % 24) as u8,
            local_weekday: 3,
            address: address(recipient),
            user_agent: &texts.agents[agent],
            accept_language: pick(&["en-US,en;q=0.9", "de-CH,de;q=0.9", "pt-BR", "ja"], recipient),
            referer: if click { "" } else { "https://mail.example/" },
            host: "m.example.com",
            http_version: 11,
            dnt: recipient.is_multiple_of(20),
            sec_gpc: recipient.is_multiple_of(30),
            k_topic: "mailbeacon.events",
            k_part: 4,
            k_off: n / 50,
            edge_id: spread(b % 2),
            seq: n,
            ..Row::default()
        });
    }
}

/// An IPv4 address cut to its network of 256.
fn address(recipient: u64) -> [u8; 16] {
    let [a, b, c, ..] = (recipient >> 20).to_le_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, 0]
}

struct Texts {
    targets: Vec<String>,
    places: Vec<String>,
    agents: Vec<String>,
}

#[tokio::test]
async fn an_event_takes_less_than_half_of_the_naive_table() {
    let texts = Texts {
        targets: (0..180)
            .map(|n| format!("https://shop.example/{}/offer-{n}?utm_source=mail", spread(n) % 1000))
            .collect(),
        places: (0..300).map(|n| format!("Place {n}")).collect(),
        agents: (0..200)
            .map(|n| {
                format!(
                    "Mozilla/5.0 (Device {n}; CPU OS 18_{}) AppleWebKit/605.1.{} (KHTML, like Gecko)",
                    n % 7,
                    n % 31
                )
            })
            .collect(),
    };
    let store = engine::migrated("size").await;
    let mut block = Block::new(month(today_ms()));
    fill(&mut block, &texts);
    let wire = block.bytes() as u64;
    let bytes = block.finish();
    store.insert(0, "size", &bytes).await.unwrap();

    // Ids as text, times with a zone of their own, no codecs, no dictionaries, ordered by time.
    let columns = value(
        &store,
        "SELECT groupConcat(', ')(name || ' ' || multiIf(name = 'received_at', 'DateTime64(3)', type LIKE 'Enum%' OR \
         type IN ('UInt64', 'IPv6', 'LowCardinality(String)'), 'String', type LIKE 'Array%', 'Array(String)', type)) \
         FROM system.columns WHERE database = currentDatabase() AND table = 'events'",
    )
    .await;
    let naive = format!(
        "CREATE TABLE naive ({}) ENGINE = MergeTree ORDER BY received_at",
        columns.replace("\\'", "'")
    );
    value(&store, &naive).await;
    value(&store, "INSERT INTO naive SELECT * FROM events").await;

    let on_disk = async |table: &str| -> u64 {
        value(&store, &format!("OPTIMIZE TABLE {table} FINAL")).await;
        let sql = format!(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND table = '{table}' AND active"
        );
        value(&store, &sql).await.parse().unwrap()
    };
    let (ours, theirs) = (on_disk("events").await, on_disk("naive").await);
    println!("bytes an event: {} in a block, {} stored, {} naive", wire / ROWS, ours / ROWS, theirs / ROWS);
    assert!(ours * 2 < theirs, "{} against {} bytes an event", ours / ROWS, theirs / ROWS);
}
