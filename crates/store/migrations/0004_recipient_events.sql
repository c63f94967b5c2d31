-- The events again, in the order of recipients, without what says nothing of a person's habits. `events` is ordered by
-- message, and one recipient's row in each of a hundred messages is a hundred places on disk; here it is one. It takes
-- 20 bytes an event, and a recipient among 50 million events is found in milliseconds, where a skip index or a
-- projection of `events` takes 75 or more.
--
-- It is an order, no aggregate: what a first act is, who is known for prefetched mail, and which verdict stands is told
-- only by all events together, so that is asked for when it is read. Equal rows are one. Where an event is a sign of
-- the EU, the EEA or the UK, no hour of it is kept here.
--
-- Partitions are years: each part costs a look-up of one recipient a millisecond or two, and a year of months had five
-- times as many parts. Since a year cannot be dropped month by month, what is too old is cut out once a month.
CREATE TABLE IF NOT EXISTS recipient_events{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    recipient UInt64 COMMENT 'Recipient key' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') COMMENT 'As in events' CODEC(Delta, ZSTD(1)),
    edge_id UInt64 COMMENT 'As in events' CODEC(ZSTD(1)),
    seq UInt64 COMMENT 'As in events' CODEC(ZSTD(1)),
    message UInt64 COMMENT 'As in events' CODEC(ZSTD(1)),
    kind Enum8('sent' = 1, 'open' = 2, 'click' = 3, 'download' = 4) COMMENT 'As in events' CODEC(ZSTD(1)),
    verdict Enum8('none' = 0, 'human' = 1, 'proxy' = 2, 'prefetch' = 3, 'scanner' = 4, 'bot' = 5) COMMENT 'As judged on arrival; recipient_events_current has the verdict of today' CODEC(ZSTD(1)),
    confidence Enum8('none' = 0, 'weak' = 1, 'probable' = 2, 'certain' = 3) COMMENT 'As in events' CODEC(ZSTD(1)),
    region Enum8('unknown' = 0, 'eu' = 1, 'other' = 2) COMMENT 'What the event says of where the recipient is: eu when its claim or its evidence says so' CODEC(ZSTD(1)),
    local_hour UInt8 COMMENT 'As in events; 255 for a sign of the EU, the EEA or the UK' CODEC(ZSTD(1)),
    local_weekday UInt8 COMMENT 'As in events; 0 for a sign of the EU, the EEA or the UK' CODEC(ZSTD(1)),
    time_zone LowCardinality(String) COMMENT 'As in events; empty for a sign of the EU, the EEA or the UK' CODEC(ZSTD(1)),
    profile_time_zone LowCardinality(String) COMMENT 'As in events; empty for a sign of the EU, the EEA or the UK' CODEC(ZSTD(1)),
    domain UInt64 COMMENT 'As in events; 0 for a sign of the EU, the EEA or the UK' CODEC(ZSTD(1)),
    k_topic LowCardinality(String) COMMENT 'Provenance: the source of the event' CODEC(ZSTD(1)),
    k_part UInt32 COMMENT 'Provenance: partition of the source' CODEC(ZSTD(1)),
    k_off UInt64 COMMENT 'Provenance: offset of the message that carried the event' CODEC(ZSTD(1)),
    INDEX by_offset k_off TYPE minmax GRANULARITY 1
)
ENGINE = {AggregatingMergeTree}
PARTITION BY toYear(received_at)
ORDER BY (workspace, recipient, received_at, edge_id, seq)
TTL toDateTime(received_at) + INTERVAL 24 MONTH
SETTINGS index_granularity = 2048,
    merge_with_ttl_timeout = 2592000,
    non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Events whose recipient may be known, in the order of recipients. Kept for 24 to 25 months.';

-- cluster only
CREATE TABLE IF NOT EXISTS recipient_events AS recipient_events_local
ENGINE = Distributed({cluster}, currentDatabase(), recipient_events_local)
COMMENT 'Events whose recipient may be known, in the order of recipients, of all shards. Kept for 24 to 25 months.';

CREATE MATERIALIZED VIEW IF NOT EXISTS recipient_events_fill{local} TO recipient_events{local}
AS WITH
    CAST(multiIf(region_claim = 'eu' OR region_class = 'eu', 'eu', region_class = 'other', 'other', 'unknown'), 'Enum8(\'unknown\' = 0, \'eu\' = 1, \'other\' = 2)') AS sign
SELECT
    workspace,
    recipient,
    received_at,
    edge_id,
    seq,
    message,
    kind,
    verdict,
    confidence,
    sign AS region,
    if(sign = 'eu', 255, events{local}.local_hour) AS local_hour,
    if(sign = 'eu', 0, events{local}.local_weekday) AS local_weekday,
    if(sign = 'eu', '', events{local}.time_zone) AS time_zone,
    if(sign = 'eu', '', events{local}.profile_time_zone) AS profile_time_zone,
    if(sign = 'eu', 0, events{local}.domain) AS domain,
    k_topic,
    k_part,
    k_off
FROM events{local}
WHERE recipient != 0
    AND mode IN ('unspecified', 'full')
    AND getSetting('insert_deduplication_token') NOT LIKE '%/rows/%'
COMMENT 'Fills recipient_events from every block of events, machines'' included: any sign of the EU counts';

-- The star stands for the columns of this day: a migration that adds one makes this view anew.
CREATE VIEW IF NOT EXISTS recipient_events_current
AS SELECT
    e.* EXCEPT (verdict, confidence),
    if(c.version > 0, c.verdict, e.verdict) AS verdict,
    if(c.version > 0, c.confidence, e.confidence) AS confidence
FROM recipient_events AS e
GLOBAL LEFT JOIN
(
    SELECT
        workspace,
        message,
        edge_id,
        seq,
        max(r.version) AS version,
        argMax(r.verdict, r.version) AS verdict,
        argMax(r.confidence, r.version) AS confidence
    FROM corrections AS r
    GROUP BY workspace, message, edge_id, seq
) AS c ON c.workspace = e.workspace AND c.message = e.message AND c.edge_id = e.edge_id AND c.seq = e.seq
COMMENT 'Events in the order of recipients with the verdict that stands today';
