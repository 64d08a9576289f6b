# Fuzzer of the content codings, see fuzz_codings.c and event.cmake.  Their
# files need no more of nginx than its types, which are there once the module
# is configured.
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)

set(codings_sources ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_codings.c)
foreach(name decode lz4 mem snappy zlib zstd)
    list(APPEND codings_sources
         ${CMAKE_SOURCE_DIR}/ngx_logbroker_module/ngx_http_logbroker_${name}.c)
endforeach()

set(codings_targets replay_codings)
add_executable(replay_codings ${codings_sources}
               ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
target_link_libraries(replay_codings PRIVATE lb_format lb_spool)
add_test(NAME replay_codings
         COMMAND replay_codings ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/codings)

if(LB_FUZZ)
    list(APPEND codings_targets fuzz_codings)
    add_executable(fuzz_codings ${codings_sources}
                   ${CMAKE_SOURCE_DIR}/event/inflate.c
                   ${CMAKE_SOURCE_DIR}/event/snappy.c
                   ${CMAKE_SOURCE_DIR}/spool/lb_crc32c.c)
    target_compile_options(fuzz_codings PRIVATE
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
    target_link_options(fuzz_codings PRIVATE
        -fsanitize=fuzzer,address,undefined)
endif()

foreach(target ${codings_targets})
    add_dependencies(${target} ngx_http_logbroker_module)
    target_compile_options(${target} PRIVATE -Wno-unused-parameter)
    target_include_directories(${target} SYSTEM PRIVATE
        ${LB_NGINX_SRC}/src/core ${LB_NGINX_SRC}/src/event
        ${LB_NGINX_SRC}/src/event/quic ${LB_NGINX_SRC}/src/http/v3
        ${LB_NGINX_SRC}/src/event/modules ${LB_NGINX_SRC}/src/os/unix
        ${LB_NGINX_SRC}/src/http ${LB_NGINX_SRC}/src/http/modules
        ${LB_NGINX_SRC}/src/http/v2
        ${CMAKE_BINARY_DIR}/ngx_logbroker_module/nginx)
    target_link_libraries(${target} PRIVATE
        PkgConfig::DEFLATE PkgConfig::LZ4 PkgConfig::ZLIB PkgConfig::ZSTD)
endforeach()
