-- An entity's table, joined as the original's documentation does.
select
    p.sku,
    count(*) as seen,
    count(distinct e.domain_userid) as by_users,
    max(p.price) as highest_price,
    bool_or(p.in_stock) as ever_in_stock
from {{ source('atomic', 'com_snowmelt_shop_product_1') }} p
join {{ source('atomic', 'events') }} e on e.event_id = p.root_id and e.collector_tstamp = p.root_tstamp
group by p.sku
