-- What the views of corrections and of last opens are about: few events, and none at all of most inserts. Those views hang
-- on this table, which keeps nothing, because a view costs every insert 4 ms of CPU time although nothing comes of it.
-- With both behind one filter an insert costs a quarter less when it is small and a seventh when it is large.
CREATE TABLE IF NOT EXISTS events_rare{local}
(
    workspace UInt32 COMMENT 'As in events',
    message UInt64 COMMENT 'As in events',
    recipient UInt64 COMMENT 'As in events',
    received_at DateTime64(3, 'UTC') COMMENT 'As in events',
    kind Enum8('sent' = 1, 'open' = 2, 'click' = 3, 'download' = 4) COMMENT 'As in events',
    mode Enum8('unspecified' = 0, 'full' = 1, 'anonymous' = 2, 'date' = 3, 'off' = 4) COMMENT 'As in events',
    region_claim Enum8('unknown' = 0, 'eu' = 1, 'other' = 2) COMMENT 'As in events',
    region_class Enum8('unknown' = 0, 'eu' = 1, 'other' = 2) COMMENT 'As in events',
    ruleset UInt16 COMMENT 'As in events',
    corrects Array(Tuple(edge_id UInt64, seq UInt64, received_at DateTime64(3, 'UTC'), recipient UInt64, kind Enum8('sent' = 1, 'open' = 2, 'click' = 3, 'download' = 4), link UInt32, verdict Enum8('none' = 0, 'human' = 1, 'proxy' = 2, 'prefetch' = 3, 'scanner' = 4, 'bot' = 5), confidence Enum8('none' = 0, 'weak' = 1, 'probable' = 2, 'certain' = 3), reason LowCardinality(String))) COMMENT 'As in events',
    k_topic LowCardinality(String) COMMENT 'As in events',
    k_part UInt32 COMMENT 'As in events',
    k_off UInt64 COMMENT 'As in events'
)
ENGINE = Null
COMMENT 'Passes on the events that few views are about. Empty.';

CREATE MATERIALIZED VIEW IF NOT EXISTS events_rare_fill{local} TO events_rare{local}
AS SELECT
    workspace,
    message,
    recipient,
    received_at,
    kind,
    mode,
    region_claim,
    region_class,
    ruleset,
    corrects,
    k_topic,
    k_part,
    k_off
FROM events{local}
WHERE mode = 'date' OR notEmpty(corrects)
COMMENT 'Fills events_rare from every block of events';

-- Verdicts found later than the event: by a trap or a sweep that came after it, or by a newer ruleset run over the
-- past. Nothing in `events` is rewritten; of several corrections the one with the highest version stands.
--
-- A sweep's later click carries what it says of the earlier ones in its own row, and this view unfolds it: so a
-- correction is stored exactly as often as the row, by the same protocol. A re-run of the rules inserts its own, which
-- have no source. Everything is part of the key: equal rows are one correction.
--
-- Kept for less time than the events, which are counted anew where there are corrections.
CREATE TABLE IF NOT EXISTS corrections{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    message UInt64 COMMENT 'Message' CODEC(ZSTD(1)),
    edge_id UInt64 COMMENT 'The edge that received the event' CODEC(ZSTD(1)),
    seq UInt64 COMMENT 'Number of the event at its edge' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'The highest one of an event stands: receive time of the event that showed it, or time of the re-run, Unix milliseconds' CODEC(Delta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') COMMENT 'When the event was received' CODEC(Delta, ZSTD(1)),
    recipient UInt64 COMMENT 'Recipient of the event' CODEC(ZSTD(1)),
    kind Enum8('sent' = 1, 'open' = 2, 'click' = 3, 'download' = 4) COMMENT 'What happened' CODEC(ZSTD(1)),
    link UInt32 COMMENT 'Number of the link' CODEC(ZSTD(1)),
    verdict Enum8('none' = 0, 'human' = 1, 'proxy' = 2, 'prefetch' = 3, 'scanner' = 4, 'bot' = 5) COMMENT 'Who made the request, as is known now' CODEC(ZSTD(1)),
    confidence Enum8('none' = 0, 'weak' = 1, 'probable' = 2, 'certain' = 3) COMMENT 'How sure that is' CODEC(ZSTD(1)),
    reasons Array(LowCardinality(String)) COMMENT 'Codes of the rules that spoke, the decisive one first' CODEC(ZSTD(1)),
    ruleset UInt16 COMMENT 'Version of the rules' CODEC(ZSTD(1)),
    month UInt32 COMMENT 'Month of the row that carried it, yyyymm, UTC' CODEC(ZSTD(1)),
    k_topic LowCardinality(String) COMMENT 'Provenance: the source of the row that carried it; empty for a re-run' CODEC(ZSTD(1)),
    k_part UInt32 COMMENT 'Provenance: partition of the source' CODEC(ZSTD(1)),
    k_off UInt64 COMMENT 'Provenance: offset of the row that carried it' CODEC(Delta, ZSTD(1)),
    INDEX by_offset k_off TYPE minmax GRANULARITY 1
)
ENGINE = {AggregatingMergeTree}
PARTITION BY month
ORDER BY (workspace, message, edge_id, seq, version, k_topic, k_part)
TTL toDateTime(received_at) + INTERVAL 24 MONTH
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Verdicts found later than the event. Kept for 24 months.';

-- cluster only
CREATE TABLE IF NOT EXISTS corrections AS corrections_local
ENGINE = Distributed({cluster}, currentDatabase(), corrections_local)
COMMENT 'Verdicts found later than the event, of all shards. Kept for 24 months.';

CREATE MATERIALIZED VIEW IF NOT EXISTS corrections_fill{local} TO corrections{local}
AS SELECT
    workspace,
    message,
    c.edge_id AS edge_id,
    c.seq AS seq,
    toUInt64(toUnixTimestamp64Milli(events_rare{local}.received_at)) AS version,
    c.received_at AS received_at,
    c.recipient AS recipient,
    c.kind AS kind,
    c.link AS link,
    c.verdict AS verdict,
    c.confidence AS confidence,
    [c.reason] AS reasons,
    ruleset,
    toYYYYMM(events_rare{local}.received_at) AS month,
    k_topic,
    k_part,
    k_off
FROM events_rare{local}
ARRAY JOIN corrects AS c
WHERE getSetting('insert_deduplication_token') NOT LIKE '%/rows/%'
COMMENT 'Fills corrections from events_rare';

-- The star stands for the columns of this day: a migration that adds one makes these views anew.
CREATE VIEW IF NOT EXISTS events_current
AS SELECT
    e.* EXCEPT (verdict, confidence, reasons, ruleset, corrects),
    if(c.version > 0, c.verdict, e.verdict) AS verdict,
    if(c.version > 0, c.confidence, e.confidence) AS confidence,
    if(c.version > 0, c.reasons, e.reasons) AS reasons,
    if(c.version > 0, c.ruleset, e.ruleset) AS ruleset,
    e.verdict AS first_verdict,
    e.reasons AS first_reasons
FROM events AS e
GLOBAL LEFT JOIN
(
    SELECT
        workspace,
        message,
        edge_id,
        seq,
        max(r.version) AS version,
        argMax(r.verdict, r.version) AS verdict,
        argMax(r.confidence, r.version) AS confidence,
        argMax(r.reasons, r.version) AS reasons,
        argMax(r.ruleset, r.version) AS ruleset
    FROM corrections AS r
    GROUP BY workspace, message, edge_id, seq
) AS c ON c.workspace = e.workspace AND c.message = e.message AND c.edge_id = e.edge_id AND c.seq = e.seq
COMMENT 'Every event with the verdict that stands today; first_verdict and first_reasons are those on arrival';

CREATE VIEW IF NOT EXISTS events_people
AS SELECT * FROM events_current WHERE verdict IN ('human', 'proxy')
COMMENT 'Events that a person caused, directly or through an image proxy. Device and place of a proxy are not the person''s.';

CREATE VIEW IF NOT EXISTS events_human
AS SELECT * FROM events_current WHERE verdict = 'human'
COMMENT 'Events that a person caused directly, so that device and place are the person''s. Leaves out opens through image proxies, Gmail''s among them.'
