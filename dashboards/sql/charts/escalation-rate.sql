-- Escalation rate: Share of the complaints that ask for a second reader.
SELECT
    AVG(CASE WHEN escalate THEN 1e0 ELSE 0e0 END) AS escalation_rate
FROM serving.complaints
