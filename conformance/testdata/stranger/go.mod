module example.org/stranger

go 1.26.0

require lazulite.dev v0.0.0

replace lazulite.dev => ../../..
