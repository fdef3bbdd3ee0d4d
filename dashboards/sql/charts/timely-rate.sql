-- Timely rate: Share of the answers that came in time.
SELECT
    SUM(CASE WHEN timely_response THEN 1.0 ELSE 0.0 END) / NULLIF(SUM(CASE WHEN timely_response IS NOT NULL THEN 1.0 ELSE 0.0 END), 0) AS timely_rate
FROM serving.resolutions
