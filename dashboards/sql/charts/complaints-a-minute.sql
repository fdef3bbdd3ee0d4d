-- Complaints a minute: Complaints that arrived each minute of the latest hour.
SELECT
    date_trunc('minute', minute) AS minute,
    SUM(complaints) AS complaints
FROM serving.minutes
WHERE in_latest_hour
  AND is_over
GROUP BY date_trunc('minute', minute)
ORDER BY minute
LIMIT 1000
