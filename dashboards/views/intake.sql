-- What was decided and what was refused each minute. One row: minute of arrival, decided or quarantined.
SELECT m.minute, 'decided' AS went_to, sum(m.complaints) AS received, 0 AS quarantined
FROM gold.complaints_by_minute AS m
GROUP BY m.minute
UNION ALL
SELECT date_trunc('minute', q.ingested_at) AS minute, 'quarantined' AS went_to, count(*) AS received,
       count(*) AS quarantined
FROM silver.quarantine AS q
GROUP BY date_trunc('minute', q.ingested_at)
