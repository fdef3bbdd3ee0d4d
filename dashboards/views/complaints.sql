-- Every decided complaint. One row: one scored complaint.
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
    d.model_version,
    latency_ms(d.scored_at, d.kafka_timestamp) / 1000.0 AS latency_s,
    origin(d.is_synthetic) AS origin
FROM gold.decisions AS d
