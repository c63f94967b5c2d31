-- Hourly statistics of each message. Read the views: they merge the partial rows, so nothing needs FINAL.
--
-- This and every other target of a materialized view carries where its events stood, and is partitioned by their
-- month as `events` is. So a batch of which a server that was killed had stored the events, but not all of the
-- views, is seen by a look into each target, and what it lacks is filled from the events (`src/views.rs`). For the
-- same reason each view leaves out inserts whose token names rows only: they bring back rows whose views are full.
CREATE TABLE IF NOT EXISTS message_hourly_states{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    message UInt64 COMMENT 'Message' CODEC(ZSTD(1)),
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC' CODEC(Delta, ZSTD(1)),
    kind Enum8('sent' = 1, 'open' = 2, 'click' = 3, 'download' = 4) COMMENT 'What happened' CODEC(ZSTD(1)),
    verdict Enum8('none' = 0, 'human' = 1, 'proxy' = 2, 'prefetch' = 3, 'scanner' = 4, 'bot' = 5) COMMENT 'Who made the request' CODEC(ZSTD(1)),
    k_topic LowCardinality(String) COMMENT 'Provenance: the source of the events' CODEC(ZSTD(1)),
    k_part UInt32 COMMENT 'Provenance: partition of the source' CODEC(ZSTD(1)),
    events SimpleAggregateFunction(sum, UInt64) COMMENT 'Events; sum() them' CODEC(ZSTD(1)),
    recipients AggregateFunction(uniq, UInt64) COMMENT 'Recipients known by their key; uniqMerge() them' CODEC(ZSTD(1)),
    k_off SimpleAggregateFunction(max, UInt64) COMMENT 'Provenance: highest offset of the events' CODEC(ZSTD(1)),
    INDEX by_offset k_off TYPE minmax GRANULARITY 1
)
ENGINE = {AggregatingMergeTree}
PARTITION BY toYYYYMM(hour)
ORDER BY (workspace, message, hour, kind, verdict, k_topic, k_part)
TTL hour + INTERVAL 37 MONTH
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Partial states behind message_hourly and message_totals. Kept for 37 months.';

-- cluster only
CREATE TABLE IF NOT EXISTS message_hourly_states AS message_hourly_states_local
ENGINE = Distributed({cluster}, currentDatabase(), message_hourly_states_local)
COMMENT 'Partial states behind message_hourly and message_totals, of all shards. Kept for 37 months.';

CREATE MATERIALIZED VIEW IF NOT EXISTS message_hourly_fill{local} TO message_hourly_states{local}
AS SELECT
    workspace,
    message,
    toStartOfHour(toDateTime(received_at, 'UTC')) AS hour,
    kind,
    verdict,
    k_topic,
    k_part,
    count() AS events,
    uniqStateIf(recipient, recipient != 0 AND mode != 'date') AS recipients,
    max(events{local}.k_off) AS k_off
FROM events{local}
WHERE getSetting('insert_deduplication_token') NOT LIKE '%/rows/%'
GROUP BY workspace, message, hour, kind, verdict, k_topic, k_part
COMMENT 'Fills message_hourly_states from every block of events';

-- What is corrected cannot be taken out of a state of different recipients again: messages with corrections are
-- counted from their events, which lie together.
CREATE VIEW IF NOT EXISTS message_hourly_current
AS SELECT workspace, message, hour, kind, verdict, events, recipients
FROM message_hourly_states
WHERE (workspace, message) GLOBAL NOT IN (SELECT workspace, message FROM corrections)
UNION ALL
SELECT
    workspace,
    message,
    toStartOfHour(toDateTime(received_at, 'UTC')) AS hour,
    kind,
    verdict,
    count() AS events,
    uniqStateIf(recipient, recipient != 0 AND mode != 'date') AS recipients
FROM events_current
WHERE (workspace, message) GLOBAL IN (SELECT workspace, message FROM corrections)
GROUP BY workspace, message, hour, kind, verdict
COMMENT 'States behind message_hourly and message_totals, by the verdicts of today';

CREATE VIEW IF NOT EXISTS message_hourly
(
    workspace UInt32 COMMENT 'Workspace',
    message UInt64 COMMENT 'Message',
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC',
    kind Enum8('sent' = 1, 'open' = 2, 'click' = 3, 'download' = 4) COMMENT 'What happened',
    verdict Enum8('none' = 0, 'human' = 1, 'proxy' = 2, 'prefetch' = 3, 'scanner' = 4, 'bot' = 5) COMMENT 'Who made the request, as is known now',
    events UInt64 COMMENT 'Events',
    recipients UInt64 COMMENT 'Different recipients of these events, exact to about 65,000; not to be added up over rows'
)
AS SELECT
    workspace,
    message,
    hour,
    kind,
    verdict,
    sum(s.events) AS events,
    uniqMerge(s.recipients) AS recipients
FROM message_hourly_current AS s
GROUP BY workspace, message, hour, kind, verdict
COMMENT 'Events and recipients of each message by hour, kind and verdict';

-- Of opens there are three counts, so that nobody has to remember the rule: by people is what to report.
CREATE VIEW IF NOT EXISTS message_totals
(
    workspace UInt32 COMMENT 'Workspace',
    message UInt64 COMMENT 'Message',
    sent UInt64 COMMENT 'Messages sent',
    recipients UInt64 COMMENT 'Different recipients it was sent to',
    opens UInt64 COMMENT 'Opens by people, image proxies included',
    opens_human UInt64 COMMENT 'Opens by people directly: device and place are theirs',
    opens_all UInt64 COMMENT 'Opens by anyone, machines included: what a naive counter reports',
    openers UInt64 COMMENT 'Different recipients who opened, image proxies included',
    openers_human UInt64 COMMENT 'Different recipients who opened directly',
    openers_all UInt64 COMMENT 'Different recipients with any open, machines included',
    hidden UInt64 COMMENT 'Different recipients of whom only prefetches came, Apple''s as a rule: whether they read cannot be known, so the open rate is openers / (recipients - hidden)',
    clicks UInt64 COMMENT 'Clicks by people',
    clicks_all UInt64 COMMENT 'Clicks by anyone, machines included',
    clickers UInt64 COMMENT 'Different recipients who clicked',
    clickers_all UInt64 COMMENT 'Different recipients with any click, machines included',
    downloads UInt64 COMMENT 'Downloads by people',
    downloads_all UInt64 COMMENT 'Downloads by anyone, machines included',
    machine_events UInt64 COMMENT 'Prefetches, scanners and bots, of any kind'
)
AS SELECT
    workspace,
    message,
    sumIf(s.events, kind = 'sent') AS sent,
    uniqMergeIf(s.recipients, kind = 'sent') AS recipients,
    sumIf(s.events, kind = 'open' AND verdict IN ('human', 'proxy')) AS opens,
    sumIf(s.events, kind = 'open' AND verdict = 'human') AS opens_human,
    sumIf(s.events, kind = 'open') AS opens_all,
    uniqMergeIf(s.recipients, kind = 'open' AND verdict IN ('human', 'proxy')) AS openers,
    uniqMergeIf(s.recipients, kind = 'open' AND verdict = 'human') AS openers_human,
    uniqMergeIf(s.recipients, kind = 'open') AS openers_all,
    uniqMergeIf(s.recipients, kind = 'open' AND verdict IN ('human', 'proxy', 'prefetch')) - openers AS hidden,
    sumIf(s.events, kind = 'click' AND verdict IN ('human', 'proxy')) AS clicks,
    sumIf(s.events, kind = 'click') AS clicks_all,
    uniqMergeIf(s.recipients, kind = 'click' AND verdict IN ('human', 'proxy')) AS clickers,
    uniqMergeIf(s.recipients, kind = 'click') AS clickers_all,
    sumIf(s.events, kind = 'download' AND verdict IN ('human', 'proxy')) AS downloads,
    sumIf(s.events, kind = 'download') AS downloads_all,
    sumIf(s.events, verdict IN ('prefetch', 'scanner', 'bot')) AS machine_events
FROM message_hourly_current AS s
GROUP BY workspace, message
COMMENT 'One row per message: what people did with it, and what machines did'
