-- Every event once, as it grows: each run adds what was collected since the last one.
{{ config(materialized='incremental', unique_key='event_id') }}

select
    event_id,
    event,
    event_name,
    collector_tstamp,
    coalesce(derived_tstamp, collector_tstamp) as happened_at,
    domain_userid,
    domain_sessionid,
    page_urlpath
from {{ source('atomic', 'events') }}
{% if is_incremental() %}
where collector_tstamp >= (select coalesce(max(collector_tstamp), '-infinity') from {{ this }})
{% endif %}
