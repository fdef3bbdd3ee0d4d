-- Complaints that the CFPB no longer publishes, by company: how many are withdrawn now, and of how many.
SELECT
    d.company,
    sum(d.complaints) AS complaints,
    max(w.withdrawn) AS withdrawn
FROM gold.complaints_by_day AS d
JOIN (
    SELECT company, sum(withdrawn) AS withdrawn FROM gold.withdrawals_by_day GROUP BY company
) AS w ON w.company = d.company
GROUP BY d.company
ORDER BY withdrawn DESC, d.company
