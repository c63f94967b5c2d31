//! From a request to its row: marked opens beside the load, and a look for their rows every few milliseconds.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use event::{Kind, Region};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until};

use crate::clickhouse::ClickHouse;
use crate::crowd::Crowd;
use crate::draw::{For, draw};
use crate::plan::{Hit, Plan, RequestParts, write_request};
use crate::response::Reader;
use crate::send::Target;
use crate::tally::{histogram, record};

/// How often the rows are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Probes in one run at the most.
pub const PROBES_MAX: u64 = 100_000;

/// A marked open, as bytes.
#[derive(Debug, Clone)]
pub struct Probe {
    recipient: u64,
    request: Vec<u8>,
}

/// What the probes have shown.
#[derive(Debug, Clone)]
pub struct Seen {
    /// From sending to the answer of the query that had the row, in microseconds.
    pub visible: Histogram<u64>,
    /// How long one look took, in microseconds: with the 20 ms between looks, how fine `visible` is.
    pub look: Histogram<u64>,
    /// Looks that ClickHouse did not answer.
    pub looks_failed: u64,
    /// Probes without a proper answer.
    pub failed: u64,
    /// Probes answered whose row did not come in time.
    pub missing: u64,
}

/// Makes `count` probes beside `plan`, with a message of their own.
pub fn probes(
    plan: &Plan,
    crowd: &Crowd,
    host: &str,
    count: u64,
    mut path: impl FnMut(&Hit) -> anyhow::Result<String>,
) -> anyhow::Result<Vec<Probe>> {
    let seed = plan.spec().seed;
    let probe = |at| {
        let recipient = draw(seed, For::Probe, at);
        let message = plan.message_of_probes();
        let hit = Hit {
            kind: Kind::Open,
            message,
            recipient,
            link: 0,
            region: Region::Other,
            head: false,
            spoiled: None,
        };
        let (agent, address) = crowd.pick(Kind::Open, seed, at);
        let mut request = Vec::new();
        let (path, user_agent) = (&path(&hit)?, agent.user_agent);
        write_request(
            &mut request,
            &RequestParts { path, host, kind: Kind::Open, head: false, user_agent, address, close: true },
        );
        Ok(Probe { recipient, request })
    };
    (0..count).map(probe).collect()
}

/// Sends `probes` one `gap` after the other from `start` on, and waits for their rows; `settle_max` for those
/// of the last ones.
pub async fn sample(
    probes: &[Probe],
    gap: Duration,
    start: Instant,
    target: &Target,
    plan: &Plan,
    clickhouse: &ClickHouse,
    settle_max: Duration,
) -> Seen {
    let seen = RefCell::new(Seen {
        visible: histogram(),
        look: histogram(),
        looks_failed: 0,
        failed: 0,
        missing: 0,
    });
    let out: RefCell<HashMap<u64, Instant>> = RefCell::default();
    let all_sent: Cell<Option<Instant>> = Cell::new(None);

    let send = async {
        for (probe, at) in probes.iter().zip(0..) {
            sleep_until((start + gap * at).into()).await;
            out.borrow_mut().insert(probe.recipient, Instant::now());
            let answer = tokio::time::timeout(target.timeout, ask(target, &probe.request)).await;
            if !matches!(answer, Ok(Some(200))) {
                out.borrow_mut().remove(&probe.recipient);
                seen.borrow_mut().failed += 1;
            }
        }
        all_sent.set(Some(Instant::now()));
    };
    let look = async {
        loop {
            let begun = Instant::now();
            let sql = query(clickhouse, plan, &out.borrow());
            match (sql, all_sent.get()) {
                (None, Some(_)) => return,
                (Some(_), Some(sent)) if begun > sent + settle_max => {
                    seen.borrow_mut().missing = out.borrow().len() as u64;
                    return;
                }
                (None, None) => {}
                (Some(sql), _) => {
                    let answer = clickhouse.query(&sql).await;
                    let (now, mut seen) = (Instant::now(), seen.borrow_mut());
                    match answer {
                        Err(_) => seen.looks_failed += 1,
                        Ok(lines) => {
                            record(&mut seen.look, now - begun);
                            let shown = lines.lines().filter_map(|line| line.parse::<u64>().ok());
                            for sent in shown.filter_map(|recipient| out.borrow_mut().remove(&recipient)) {
                                record(&mut seen.visible, now - sent);
                            }
                        }
                    }
                }
            }
            sleep(LOOK_EVERY.saturating_sub(begun.elapsed())).await;
        }
    };
    tokio::join!(look, send);
    seen.into_inner()
}

/// Asks which of the probes that are out have a row; `None` when none are out.
fn query(clickhouse: &ClickHouse, plan: &Plan, out: &HashMap<u64, Instant>) -> Option<String> {
    let mut recipients = String::new();
    for recipient in out.keys() {
        let comma = if recipients.is_empty() { "" } else { "," };
        // Writing to a String does not fail.
        let _ = write!(recipients, "{comma}{recipient}");
    }
    let (table, workspace, message) = (clickhouse.table(), plan.spec().workspace, plan.message_of_probes());
    (!recipients.is_empty()).then(|| {
        format!(
            "SELECT DISTINCT recipient FROM {table} \
             WHERE workspace = {workspace} AND message = {message} AND recipient IN ({recipients})"
        )
    })
}

async fn ask(target: &Target, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(target.address).await.ok()?;
    stream.write_all(request).await.ok()?;
    let mut reader = Reader::default();
    let mut piece = [0; 1_024];
    loop {
        match stream.read(&mut piece).await.ok()? {
            0 => return Some(reader.end().ok()?.status),
            read => {
                if let Some(reply) = reader.feed(&piece[..read]).ok()? {
                    return Some(reply.status);
                }
            }
        }
    }
}
