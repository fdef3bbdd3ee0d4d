-- Predictions beside what became of the complaints. One row: one received complaint
-- that was scored and has a final outcome, as it was scored at intake.
SELECT
    d.complaint_id,
    d.date_received,
    d.scored_at,
    d.product_family AS product,
    d.model_version,
    d.scored_with,
    d.probability,
    CASE WHEN o.successful_resolution THEN 1e0 ELSE 0e0 END AS succeeded,
    (d.probability - CASE WHEN o.successful_resolution THEN 1e0 ELSE 0e0 END)
        * (d.probability - CASE WHEN o.successful_resolution THEN 1e0 ELSE 0e0 END) AS squared_error
FROM gold.decisions AS d
JOIN silver.outcomes AS o ON o.complaint_id = d.complaint_id
WHERE o.successful_resolution IS NOT NULL AND d.is_synthetic IS NULL AND coalesce(d.version, 1) = 1
