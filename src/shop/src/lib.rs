//! A small web shop that speaks the tracker protocol: the traffic of `snowmelt send` and of the tests
