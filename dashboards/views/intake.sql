-- What was decided and what was refused each minute. One row: some that arrived in one minute, decided or quarantined.
WITH summarised AS (SELECT * FROM gold.complaints_by_minute),
counted AS (
    SELECT m.minute, 'decided' AS went_to, m.complaints AS received, 0 AS quarantined
    FROM summarised AS m
    UNION ALL
    SELECT date_trunc('minute', coalesce(d.kafka_timestamp, d.ingested_at)), 'decided', 1, 0
    FROM gold.decisions AS d
    WHERE d.batch_id > (SELECT coalesce(max(s.scored_batch), -1) FROM summarised AS s)
    UNION ALL
    SELECT date_trunc('minute', q.ingested_at), 'quarantined', 1, 1
    FROM silver.quarantine AS q
)
SELECT
    c.*,
    c.minute <= now()
        AND c.minute > (SELECT max(l.minute) FROM counted AS l WHERE l.minute <= now()) - INTERVAL 1 HOUR
        AS in_latest_hour,
    c.minute < date_trunc('minute', now()) OR c.minute = (SELECT min(l.minute) FROM counted AS l) AS is_over
FROM counted AS c
