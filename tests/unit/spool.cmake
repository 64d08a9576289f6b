foreach(name test_record test_ring test_recovery test_checkpoint test_model)
    lb_unit_test(${name} SOURCES ${name}.c LIBS lb_spool)
endforeach()
