select
    domain_sessionid,
    min(domain_userid) as domain_userid,
    min(happened_at) as started_at,
    max(happened_at) as ended_at,
    count(*) as events,
    count(*) filter (where event = 'page_view') as page_views
from {{ ref('shop_events') }}
where domain_sessionid is not null
group by domain_sessionid
