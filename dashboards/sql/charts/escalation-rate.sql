-- Escalation rate: Share of the complaints that ask for a second reader.
SELECT
    AVG(CASE WHEN escalate THEN 1.0 ELSE 0.0 END) AS escalation_rate
FROM serving.complaints
