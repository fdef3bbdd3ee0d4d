-- Complaints a minute: Complaints that arrived each minute of the last hour.
SELECT
    date_trunc('minute', minute) AS minute,
    SUM(complaints) AS complaints
FROM serving.minutes
WHERE minute >= (SELECT max(minute) FROM serving.minutes) - INTERVAL 1 HOUR
GROUP BY date_trunc('minute', minute)
ORDER BY minute
LIMIT 1000
