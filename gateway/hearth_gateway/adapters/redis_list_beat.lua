-- A sign of life. ARGV 4..: session, time to live (ms), previous run.
sign_of_life(ARGV[4], ARGV[5])
take_over(ARGV[6])
return next_due()
