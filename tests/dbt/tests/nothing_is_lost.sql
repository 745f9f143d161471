-- Fails with a row when the models have other events or entities than the tables of the loader.
with counted as (
    select
        (select count(*) from {{ source('atomic', 'events') }}) as loaded,
        (select count(*) from {{ ref('shop_events') }}) as modelled,
        (select count(*) from {{ source('atomic', 'com_snowmelt_shop_product_1') }}) as entities,
        (select coalesce(sum(seen), 0) from {{ ref('products_seen') }}) as seen
)
select * from counted where loaded <> modelled or entities <> seen or loaded = 0 or entities = 0
