-- Decisions as the stream makes them, with the time they took. One row: one scored complaint, or one
-- that was decided again because its intake was revised.
SELECT
    d.scored_at,
    coalesce(d.kafka_timestamp, d.ingested_at) AS arrived_at,
    d.complaint_id,
    d.product_family AS product,
    d.issue,
    d.company,
    d.state,
    d.submitted_via AS channel,
    d.urgency,
    d.escalate,
    d.team,
    d.recommended_action,
    d.due_on,
    concat_ws(' ', try_element_at(d.reasons, 1).reason, try_element_at(d.reasons, 2).reason,
              try_element_at(d.reasons, 3).reason) AS why,
    d.probability,
    CASE WHEN d.probability < 0.2 THEN '0 to 20 %' WHEN d.probability < 0.4 THEN '20 to 40 %'
         WHEN d.probability < 0.6 THEN '40 to 60 %' WHEN d.probability < 0.8 THEN '60 to 80 %'
         ELSE '80 to 100 %' END AS predicted,
    d.scored_with,
    coalesce(d.version, 1) AS intake_version,
    d.model_name,
    d.model_version,
    latency_ms(d.scored_at, d.kafka_timestamp) / 1000.0 AS latency_s,
    origin(d.is_synthetic) AS origin,
    d.scored_at > (SELECT max(l.scored_at) FROM gold.decisions AS l) - INTERVAL 1 HOUR AS in_latest_hour
FROM gold.decisions AS d
