# Units of event/, and its benchmark (built, not run as a test).
lb_unit_test(test_scanner
             SOURCES test_scanner.c
                     ${CMAKE_SOURCE_DIR}/tests/fuzz/scanner_oracle.c
             LIBS lb_event lb_explain)

lb_unit_test(test_scanner_flat SOURCES test_scanner_flat.c LIBS lb_event)

lb_unit_test(test_format SOURCES test_format.c LIBS lb_format)
lb_unit_test(test_bulk SOURCES test_bulk.c LIBS lb_format)
lb_unit_test(test_datadog SOURCES test_datadog.c LIBS lb_format)
lb_unit_test(test_firehose SOURCES test_firehose.c LIBS lb_format)
lb_unit_test(test_gelf SOURCES test_gelf.c LIBS lb_format)
lb_unit_test(test_splunk SOURCES test_splunk.c LIBS lb_format)
lb_unit_test(test_loki SOURCES test_loki.c LIBS lb_format)
lb_unit_test(test_context SOURCES test_context.c LIBS lb_event)
lb_unit_test(test_frames SOURCES test_frames.c LIBS lb_format)
lb_unit_test(test_grpc SOURCES test_grpc.c LIBS lb_format)
lb_unit_test(test_otlp SOURCES test_otlp.c LIBS lb_format)

# the decoders of OTLP for tests/e2e/test_otlp_decoder.py, and their speed
add_executable(otlp_lines ${CMAKE_SOURCE_DIR}/tests/otlp/lines.c)
target_link_libraries(otlp_lines PRIVATE lb_format)
set_target_properties(otlp_lines PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

lb_unit_test(test_unfold SOURCES test_unfold.c LIBS lb_event)
lb_unit_test(test_lines SOURCES test_lines.c)
lb_unit_test(test_repair SOURCES test_repair.c LIBS lb_event PkgConfig::JANSSON)

add_executable(bench_scanner ${CMAKE_SOURCE_DIR}/tests/bench/bench_scanner.c)
target_link_libraries(bench_scanner PRIVATE lb_event PkgConfig::JANSSON)

foreach(name test_lift test_lift_chance test_lift_columns test_lift_times)
    lb_unit_test(${name}
                 SOURCES ${name}.c
                         ${CMAKE_SOURCE_DIR}/tests/fuzz/lift_oracle.c
                         ${CMAKE_SOURCE_DIR}/tests/fuzz/lift_oracle_values.c
                 LIBS lb_event PkgConfig::JANSSON)
endforeach()

lb_unit_test(test_payloads SOURCES test_payloads.c LIBS lb_format)
target_compile_definitions(test_payloads PRIVATE
    LB_PAYLOADS="${CMAKE_SOURCE_DIR}/tests/data/payloads.json")
