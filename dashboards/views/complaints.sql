-- Every decided complaint, as it was decided last. One row: one complaint.
SELECT
    d.complaint_id,
    d.date_received,
    d.product_family AS product,
    d.issue,
    d.sub_issue,
    d.company,
    d.state,
    CASE WHEN d.state NOT IN ('AA', 'AE', 'AP', 'AS', 'FM', 'GU', 'MH', 'MP', 'PR', 'PW', 'UM', 'VI')
         THEN 'US-' || d.state END AS map_code,
    d.submitted_via AS channel,
    d.urgency,
    d.escalate,
    d.team,
    d.recommended_action,
    d.due_on,
    d.probability,
    d.scored_with,
    coalesce(d.version, 1) AS intake_version,
    w.change IS NOT NULL AND w.change = 'withdrawn' AS is_withdrawn,
    CASE WHEN w.change = 'withdrawn' THEN CAST(w.observed_at AS DATE) END AS withdrawn_on,
    d.model_version,
    latency_ms(d.scored_at, d.kafka_timestamp) / 1000.0 AS latency_s,
    origin(d.is_synthetic) AS origin
FROM gold.current_decisions AS d
LEFT JOIN (
    SELECT e.complaint_id, max_by(e.change, e.observed_at) AS change, max(e.observed_at) AS observed_at
    FROM silver.withdrawals AS e
    GROUP BY e.complaint_id
) AS w ON w.complaint_id = d.complaint_id
