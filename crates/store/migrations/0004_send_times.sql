-- When a recipient is active, in the recipient's own clock, and the hour recommended from it.
--
-- Only people count, and only people outside the EU, the EEA and the UK: an event that says `eu` or says nothing
-- is never written here, and a recipient with any such sign in 400 days is left out of every figure when read.
CREATE TABLE IF NOT EXISTS recipient_hours_states{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    recipient UInt64 COMMENT 'Recipient key' CODEC(ZSTD(1)),
    week Date COMMENT 'Monday of the week, UTC' CODEC(ZSTD(1)),
    time_zone LowCardinality(String) COMMENT 'IANA time zone of weekday and hour' CODEC(ZSTD(1)),
    weekday UInt8 COMMENT 'Local day of the week, 1 (Monday) to 7' CODEC(ZSTD(1)),
    hour UInt8 COMMENT 'Local hour of the day, 0 to 23' CODEC(ZSTD(1)),
    month UInt32 COMMENT 'Month of the events, yyyymm, UTC' CODEC(ZSTD(1)),
    k_topic LowCardinality(String) COMMENT 'Provenance: the source of the events' CODEC(ZSTD(1)),
    k_part UInt32 COMMENT 'Provenance: partition of the source' CODEC(ZSTD(1)),
    events SimpleAggregateFunction(sum, UInt64) COMMENT 'Opens, clicks and downloads; sum() them' CODEC(ZSTD(1)),
    k_off SimpleAggregateFunction(max, UInt64) COMMENT 'Provenance: highest offset of the events' CODEC(ZSTD(1)),
    INDEX by_offset k_off TYPE minmax GRANULARITY 1
)
ENGINE = {AggregatingMergeTree}
PARTITION BY month
ORDER BY (workspace, recipient, week, time_zone, weekday, hour, month, k_topic, k_part)
TTL week + INTERVAL 25 MONTH
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Partial sums behind recipient_hours. Kept for 25 months.';

-- cluster only
CREATE TABLE IF NOT EXISTS recipient_hours_states AS recipient_hours_states_local
ENGINE = Distributed({cluster}, currentDatabase(), recipient_hours_states_local)
COMMENT 'Partial sums behind recipient_hours, of all shards. Kept for 25 months.';

CREATE MATERIALIZED VIEW IF NOT EXISTS recipient_hours_fill{local} TO recipient_hours_states{local}
AS SELECT
    workspace,
    recipient,
    toMonday(toDate(received_at, 'UTC')) AS week,
    time_zone,
    local_weekday AS weekday,
    local_hour AS hour,
    toYYYYMM(received_at) AS month,
    k_topic,
    k_part,
    count() AS events,
    max(events{local}.k_off) AS k_off
FROM events{local}
WHERE recipient != 0
    AND kind IN ('open', 'click', 'download')
    AND verdict IN ('human', 'proxy')
    AND mode IN ('unspecified', 'full')
    AND local_hour < 24
    AND local_weekday BETWEEN 1 AND 7
    AND region_claim != 'eu'
    AND region_class = 'other'
    AND getSetting('insert_deduplication_token') NOT LIKE '%/rows/%'
GROUP BY workspace, recipient, week, time_zone, weekday, hour, month, k_topic, k_part
COMMENT 'Fills recipient_hours_states from every block of events';

CREATE TABLE IF NOT EXISTS recipient_regions_states{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    recipient UInt64 COMMENT 'Recipient key' CODEC(ZSTD(1)),
    month UInt32 COMMENT 'Month of the events, yyyymm, UTC' CODEC(ZSTD(1)),
    k_topic LowCardinality(String) COMMENT 'Provenance: the source of the events' CODEC(ZSTD(1)),
    k_part UInt32 COMMENT 'Provenance: partition of the source' CODEC(ZSTD(1)),
    eu_at SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'Latest sign of the EU, the EEA or the UK; 1970 when there is none' CODEC(ZSTD(1)),
    other_at SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'Latest sign of another place; 1970 when there is none' CODEC(ZSTD(1)),
    seen_at SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'Latest event of any kind' CODEC(ZSTD(1)),
    k_off SimpleAggregateFunction(max, UInt64) COMMENT 'Provenance: highest offset of the events' CODEC(ZSTD(1)),
    INDEX by_offset k_off TYPE minmax GRANULARITY 1
)
ENGINE = {AggregatingMergeTree}
PARTITION BY month
ORDER BY (workspace, recipient, month, k_topic, k_part)
TTL seen_at + INTERVAL 25 MONTH
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Partial states behind recipient_regions. Kept for 25 months.';

-- cluster only
CREATE TABLE IF NOT EXISTS recipient_regions_states AS recipient_regions_states_local
ENGINE = Distributed({cluster}, currentDatabase(), recipient_regions_states_local)
COMMENT 'Partial states behind recipient_regions, of all shards. Kept for 25 months.';

CREATE MATERIALIZED VIEW IF NOT EXISTS recipient_regions_fill{local} TO recipient_regions_states{local}
AS SELECT
    workspace,
    recipient,
    toYYYYMM(received_at) AS month,
    k_topic,
    k_part,
    maxIf(toDateTime(received_at, 'UTC'), region_claim = 'eu' OR region_class = 'eu') AS eu_at,
    maxIf(toDateTime(received_at, 'UTC'), region_claim != 'eu' AND region_class = 'other') AS other_at,
    max(toDateTime(received_at, 'UTC')) AS seen_at,
    max(events{local}.k_off) AS k_off
FROM events{local}
WHERE recipient != 0
    AND getSetting('insert_deduplication_token') NOT LIKE '%/rows/%'
GROUP BY workspace, recipient, month, k_topic, k_part
COMMENT 'Fills recipient_regions_states from every block of events, machines included: any sign of the EU counts';

CREATE VIEW IF NOT EXISTS recipient_regions
(
    workspace UInt32 COMMENT 'Workspace',
    recipient UInt64 COMMENT 'Recipient key',
    region Enum8('unknown' = 0, 'eu' = 1, 'other' = 2) COMMENT 'eu after any sign of the EU, the EEA or the UK in 400 days; other after a sign of another place and none of these',
    eu_at DateTime('UTC') COMMENT 'Latest sign of the EU, the EEA or the UK; 1970 when there is none',
    other_at DateTime('UTC') COMMENT 'Latest sign of another place; 1970 when there is none',
    seen_at DateTime('UTC') COMMENT 'Latest event of any kind'
)
AS SELECT
    workspace,
    recipient,
    multiIf(max(s.eu_at) > now('UTC') - INTERVAL 400 DAY, 'eu', max(s.other_at) > now('UTC') - INTERVAL 400 DAY, 'other', 'unknown') AS region,
    max(s.eu_at) AS eu_at,
    max(s.other_at) AS other_at,
    max(s.seen_at) AS seen_at
FROM recipient_regions_states AS s
GROUP BY workspace, recipient
COMMENT 'Where each recipient is, as far as a send time is concerned';

-- One row per recipient outside the EU: the histogram as arrays, so that reading it joins nothing. Both halves of
-- the union are keyed by recipient, which lets a filter on the view reach the tables' primary keys.
CREATE VIEW IF NOT EXISTS recipient_hours
(
    workspace UInt32 COMMENT 'Workspace',
    recipient UInt64 COMMENT 'Recipient key',
    region Enum8('unknown' = 0, 'eu' = 1, 'other' = 2) COMMENT 'As in recipient_regions',
    time_zone String COMMENT 'The zone of most of the activity; empty when there is none',
    events UInt64 COMMENT 'Opens, clicks and downloads by the recipient in person',
    by_hour Array(Float64) COMMENT 'Activity of each local hour, 24 values, halved with every 180 days of age'
)
AS SELECT
    workspace,
    recipient,
    multiIf(max(eu) > now('UTC') - INTERVAL 400 DAY, 'eu', max(other) > now('UTC') - INTERVAL 400 DAY, 'other', 'unknown') AS region,
    if(region = 'other', argMax(zone, weight), '') AS time_zone,
    if(region = 'other', sum(n), 0) AS events,
    if(region = 'other', sumForEach(hours), arrayResize([0.], 24, 0.)) AS by_hour
FROM
(
    WITH exp2(-greatest(dateDiff('day', s.week, today()), 0) / 180) AS decay
    SELECT
        workspace,
        recipient,
        toDateTime(0, 'UTC') AS eu,
        toDateTime(0, 'UTC') AS other,
        time_zone AS zone,
        sum(s.events * decay) AS weight,
        sum(s.events) AS n,
        sumForEach(arrayMap(h -> if(h = s.hour, s.events * decay, 0.), range(24))) AS hours
    FROM recipient_hours_states AS s
    GROUP BY workspace, recipient, zone
    UNION ALL
    SELECT workspace, recipient, max(eu_at), max(other_at), '', -1., 0, arrayResize([0.], 24, 0.)
    FROM recipient_regions_states
    GROUP BY workspace, recipient
)
GROUP BY workspace, recipient
COMMENT 'Local hours of activity of each recipient. Empty for whoever is in the EU, the EEA, the UK or an unknown place.';

-- Observed over expected, smoothed on the circle of 24 hours and shrunk to the workspace's own profile, which is
-- shrunk to the flat one. A first form: without exposure it follows the sender's habits as any histogram does.
--   kernel     von Mises, kappa 12 (about 1.1 hours wide), cut at 3 hours, where 0.2 % of it is left; 3.96 is the
--              number of hours it takes together. Written as rotated arrays: a lambda that captures an array copies
--              it for each element, and 300,000 recipients then take more memory than there is
--   shrinkage  20 events to the flat profile, 1.5 to the workspace's; 0.5 standard errors of pessimism
--   confidence that the recipient's hour beats the workspace's best, overdispersion 2; below 0.55 the workspace's
--              window is given instead, and says so in `level`
--   refused    fewer than 3 events, or a place where no send time may be recommended
CREATE VIEW IF NOT EXISTS recommended_send_times
(
    workspace UInt32 COMMENT 'Workspace',
    recipient UInt64 COMMENT 'Recipient key',
    refused LowCardinality(String) COMMENT 'Why there is no recommendation: eu, region_unknown or not_enough_events; empty when there is one',
    start_hour UInt8 COMMENT 'Start of the window, hour of the recipient''s local clock; 255 when refused',
    end_hour UInt8 COMMENT 'End of the window, exclusive; before start_hour when it passes midnight; 255 when refused',
    time_zone String COMMENT 'IANA time zone of the window; empty when refused',
    level LowCardinality(String) COMMENT 'Whose habit spoke: recipient or workspace; empty when refused',
    lift Float64 COMMENT 'Expected activity in the best hour over that in the workspace''s best hour, for this recipient',
    confidence Float64 COMMENT 'Probability that the recipient''s best hour beats the workspace''s best hour',
    observed Float64 COMMENT 'Events of the recipient around the best hour, older ones weighing less',
    expected Float64 COMMENT 'Events to expect there of a recipient like the others of the workspace',
    events UInt64 COMMENT 'Events of the recipient in all'
)
AS SELECT
    workspace,
    recipient,
    multiIf(region = 'eu', 'eu', region = 'unknown', 'region_unknown', events < 3, 'not_enough_events', '') AS refused,
    if(refused = '', (best + 24 - toUInt8(ground[(best + 23) % 24 + 1] >= 0.9 * ground[best + 1])) % 24, 255) AS start_hour,
    if(refused = '', (best + 1 + toUInt8(ground[(best + 1) % 24 + 1] >= 0.9 * ground[best + 1])) % 24, 255) AS end_hour,
    if(refused = '', time_zone, '') AS time_zone,
    multiIf(refused != '', '', own, 'recipient', 'workspace') AS level,
    if(refused = '', share[best + 1] / share[usual + 1], 0) AS lift,
    if(refused = '', sure, 0) AS confidence,
    if(refused = '', seen[best + 1], 0) AS observed,
    if(refused = '', likely[best + 1], 0) AS expected,
    events
FROM
(
    SELECT
        *,
        (1 + erf(log(share[peak + 1] / share[usual + 1]) / sqrt(4 * (1 / (1.5 + seen[peak + 1]) + 1 / (1.5 + seen[usual + 1]))))) / 2 AS sure,
        sure >= 0.55 AS own,
        if(own, peak, usual) AS best,
        if(own, score, profile) AS ground
    FROM
    (
        SELECT
            *,
            arrayMap((x, o) -> x * exp(-0.5 / sqrt(1.5 + o)), share, seen) AS score,
            indexOf(score, arrayMax(score)) - 1 AS peak,
            indexOf(profile, arrayMax(profile)) - 1 AS usual
        FROM
        (
            SELECT
                *,
                arrayMap(x -> 3.958751 * x, arrayMap((x, l1, r1, l2, r2, l3, r3) ->
                    0.358553 * x + 0.238218 * (l1 + r1) + 0.071836 * (l2 + r2) + 0.010669 * (l3 + r3),
                    by_hour, arrayRotateLeft(by_hour, 1), arrayRotateRight(by_hour, 1), arrayRotateLeft(by_hour, 2), arrayRotateRight(by_hour, 2), arrayRotateLeft(by_hour, 3), arrayRotateRight(by_hour, 3))) AS seen,
                arrayMap(x -> 3.958751 * x * weight, arrayMap((x, l1, r1, l2, r2, l3, r3) ->
                    0.358553 * x + 0.238218 * (l1 + r1) + 0.071836 * (l2 + r2) + 0.010669 * (l3 + r3),
                    profile, arrayRotateLeft(profile, 1), arrayRotateRight(profile, 1), arrayRotateLeft(profile, 2), arrayRotateRight(profile, 2), arrayRotateLeft(profile, 3), arrayRotateRight(profile, 3))) AS likely,
                arrayMap((p, o, q) -> p * (1.5 + o) / (1.5 + q), profile, seen, likely) AS share
            FROM
            (
                SELECT
                    r.workspace AS workspace,
                    r.recipient AS recipient,
                    r.region AS region,
                    r.time_zone AS time_zone,
                    r.events AS events,
                    r.by_hour AS by_hour,
                    arraySum(r.by_hour) AS weight,
                    if(empty(w.profile), arrayResize([1 / 24], 24, 1 / 24), w.profile) AS profile
                FROM recipient_hours AS r
                LEFT JOIN
                (
                    SELECT
                        workspace,
                        arrayMap(x -> (x + 20 / 24) / (weight + 20), arrayMap((x, l1, r1, l2, r2, l3, r3) ->
                    0.358553 * x + 0.238218 * (l1 + r1) + 0.071836 * (l2 + r2) + 0.010669 * (l3 + r3),
                    total, arrayRotateLeft(total, 1), arrayRotateRight(total, 1), arrayRotateLeft(total, 2), arrayRotateRight(total, 2), arrayRotateLeft(total, 3), arrayRotateRight(total, 3))) AS profile
                    FROM
                    (
                        SELECT
                            workspace,
                            sumForEach(arrayMap(h -> if(h = hour, part, 0.), range(24))) AS total,
                            arraySum(total) AS weight
                        FROM
                        (
                            SELECT
                                workspace,
                                hour,
                                sum(s.events * exp2(-greatest(dateDiff('day', s.week, today()), 0) / 180)) AS part
                            FROM recipient_hours_states AS s
                            WHERE (workspace, recipient) GLOBAL IN (
                                SELECT workspace, recipient FROM recipient_regions WHERE region = 'other'
                            )
                            GROUP BY workspace, hour
                        )
                        GROUP BY workspace
                    )
                ) AS w ON w.workspace = r.workspace
            )
        )
    )
)
COMMENT 'A window of the local day in which each recipient is likely to act, or why there is none';
