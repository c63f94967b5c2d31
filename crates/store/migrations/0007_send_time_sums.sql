-- What send times are estimated from, in SQL: the sums that the estimator reads, of everybody for whom there may be one.
-- They are those of `send_time::Counts` to the last digits, which a test holds them to, from the same events by another
-- way; the constants are those of `send_time::model` and `send_time::evidence`. Arrays have 48 places: the hours of a
-- weekday, then those of a day of the weekend, of the recipient's own clock. A time zone that stands in a column is
-- heeded by formatDateTime, and by no other function.
CREATE VIEW IF NOT EXISTS recipient_counts
AS WITH
    e AS
    (
        SELECT
            recipient,
            message,
            kind,
            verdict,
            confidence,
            local_hour,
            local_weekday,
            toString(time_zone) AS zone,
            if(profile_time_zone IN (SELECT time_zone FROM system.time_zones), toString(profile_time_zone), '') AS told_zone,
            domain,
            toUnixTimestamp64Milli(received_at) AS at_ms,
            (received_at, edge_id, seq) AS place,
            exp2(-(toUnixTimestamp64Milli({at:DateTime64(3, 'UTC')}) - at_ms) / 86400000 / 180) AS decay
        FROM recipient_events_current
        WHERE workspace = {workspace:UInt32} AND received_at < {at:DateTime64(3, 'UTC')}
            AND recipient GLOBAL IN (SELECT recipient FROM recipient_regions WHERE workspace = {workspace:UInt32} AND region = 'other')
            AND recipient GLOBAL NOT IN (SELECT recipient FROM withdrawals WHERE workspace = {workspace:UInt32} GROUP BY recipient HAVING max(withdrawn_at) > max(restored_at))
    ),
    people AS
    (
        SELECT
            recipient,
            countIf(kind != 'sent' AND verdict = 'prefetch') AS prefetches,
            countIf(kind != 'sent' AND (verdict = 'scanner' OR (verdict = 'bot' AND kind != 'open'))) AS scans,
            argMaxIf(domain, place, domain != 0) AS last_domain,
            argMaxIf(told_zone, place, kind = 'sent' AND told_zone != '') AS told,
            sumMapIf([zone], [decay], kind != 'sent' AND verdict = 'human' AND zone != '') AS lived,
            arraySort(x -> (-x.2, x.1), arrayZip(lived.1, lived.2))[1].1 AS most,
            if(told != '', told, most) AS home
        FROM e
        GROUP BY recipient
    ),
    placed AS
    (
        SELECT
            e.*,
            p.prefetches AS prefetches,
            p.scans AS scans,
            p.home IN (SELECT time_zone FROM system.time_zones) AS has_clock,
            formatDateTime(fromUnixTimestamp64Milli(e.at_ms, 'UTC'), '%H%u', if(has_clock, p.home, 'UTC')) AS clock,
            multiIf(
                e.local_hour < 24 AND e.local_weekday > 0 AND (e.kind = 'sent' OR e.verdict = 'human'), e.local_hour + 24 * (e.local_weekday >= 6),
                has_clock, toUInt8(substring(clock, 1, 2)) + 24 * (substring(clock, 3, 1) >= '6'),
                255) AS bin
        FROM e
        INNER JOIN people AS p ON p.recipient = e.recipient
        WHERE e.message != 0
    ),
    mails AS
    (
        SELECT
            recipient,
            message,
            any(prefetches) > 0 AS prefetched,
            any(scans) > 0 AS scanned,
            countIf(kind = 'sent') > 0 AS is_sent,
            argMinIf(at_ms, place, kind = 'sent') AS sent_ms,
            argMinIf(bin, place, kind = 'sent') AS sent_bin,
            if(is_sent, argMinIf(decay, place, kind = 'sent'), argMin(decay, place)) AS weight,
            arraySort(groupArrayIf(
                (place, at_ms, bin, kind, if(verdict = 'human' AND confidence = 'weak', 0.5, 1.0)),
                kind != 'sent' AND verdict IN ('human', 'proxy'))) AS of_people,
            arrayMap(x -> (x.2, x.3, x.5), arrayFilter(
                x -> x.3 != 255 AND NOT (x.4 = 'open' AND prefetched) AND NOT (is_sent AND scanned AND x.2 - sent_ms < 120000),
                of_people)) AS counted,
            arrayFold(
                (done, x) -> if(length(done.2) < 4 AND x.1 - done.1 >= 3600000, (x.1, arrayPushBack(done.2, x)), done),
                arraySlice(counted, 2),
                (counted[1].1, arraySlice(counted, 1, 0))).2 AS again
        FROM placed
        GROUP BY recipient, message
    ),
    -- 0 for sent, 1 for spent, 2 for acts, 3 for repeats; the bin; how much.
    told AS
    (
        SELECT
            recipient,
            sum(NOT prefetched AND notEmpty(of_people)) AS opened,
            sum(NOT prefetched AND arrayExists(x -> x.4 != 'open', of_people)) AS clicked,
            sumMap(arrayMap(x -> x.1, parts), arrayMap(x -> x.2, parts)) AS sums
        FROM
        (
            SELECT
                *,
                multiIf(is_sent, sent_bin != 255, NOT (SELECT count() > 0 FROM recipient_events WHERE workspace = {workspace:UInt32} AND kind = 'sent' AND received_at < {at:DateTime64(3, 'UTC')})) AS is_told,
                notEmpty(counted) AS is_answered,
                arrayFilter(x -> is_told, arrayConcat(
                    arrayFilter(x -> is_sent, [(toUInt8(sent_bin), weight)]),
                    arrayFilter(x -> is_sent AND is_answered, [(toUInt8(48 + counted[1].2), weight * counted[1].3 * exp(-greatest(counted[1].1 - sent_ms, 0) / 3600000 / 5.5))]),
                    arrayFilter(x -> is_answered, [(toUInt8(96 + counted[1].2), weight * counted[1].3)]),
                    arrayMap(x -> (toUInt8(144 + x.2), weight * x.3), again))) AS parts
            FROM mails
        )
        GROUP BY recipient
    )
SELECT
    p.recipient AS recipient,
    p.home AS time_zone,
    p.last_domain AS domain,
    p.prefetches AS prefetches,
    p.scans AS scans,
    t.opened AS opened,
    t.clicked AS clicked,
    arrayMap(b -> t.sums.2[indexOf(t.sums.1, b)], range(0, 48)) AS sent,
    arrayMap(b -> t.sums.2[indexOf(t.sums.1, b)], range(48, 96)) AS spent,
    arrayMap(b -> t.sums.2[indexOf(t.sums.1, b)], range(96, 144)) AS acts,
    arrayMap(b -> t.sums.2[indexOf(t.sums.1, b)], range(144, 192)) AS repeats
FROM people AS p
LEFT JOIN told AS t ON t.recipient = p.recipient
COMMENT 'What a send time is estimated from, for each recipient: SELECT * FROM recipient_counts(workspace = 1, at = now64(3))';

-- What `mailbeacon send-time --refresh` keeps in send_time_habits. The domains of free mail providers are among these,
-- which to the estimator are no companies.
CREATE VIEW IF NOT EXISTS send_time_sums
AS WITH
    people AS
    (
        SELECT
            *,
            sum(opened) OVER () AS all_opened,
            if(all_opened > 0, sum(clicked) OVER () / all_opened, 0.15) AS clicks_per_open,
            if(prefetches > 0, least(greatest(clicks_per_open, 0.01), 1), 1) AS visible,
            1 / (1 + (arraySum(acts) + arraySum(repeats)) / 6) AS voice
        FROM recipient_counts(workspace = {workspace:UInt32}, at = {at:DateTime64(3, 'UTC')})
    )
SELECT
    part.1 AS level,
    part.2 AS time_zone,
    part.3 AS domain,
    count() AS recipients,
    any(clicks_per_open) AS clicks_per_open,
    sumForEach(arrayMap(x -> voice * visible * x, p.sent)) AS sent,
    sumForEach(arrayMap(x -> voice * visible * x, p.spent)) AS spent,
    sumForEach(arrayMap(x -> voice * x, p.acts)) AS acts,
    sumForEach(arrayMap(x -> voice * x, p.repeats)) AS repeats
FROM people AS p
ARRAY JOIN [('workspace', '', toUInt64(0)), ('zone', p.time_zone, toUInt64(0)), ('domain', '', p.domain)] AS part
GROUP BY part
COMMENT 'The same of all, of each time zone and of each mail domain: SELECT * FROM send_time_sums(workspace = 1, at = now64(3))'
