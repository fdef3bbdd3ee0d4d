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
    d.model_version,
    (unix_millis(d.scored_at) - unix_millis(d.kafka_timestamp)) / 60000.0 AS minutes_in_queue,
    CASE WHEN d.is_synthetic THEN 'synthetic' ELSE 'received' END AS origin
FROM gold.current_decisions AS d
