# frozen_string_literal: true

module HearthRuntime
  # An exception as the Runtime API and a caller get it. `stage` is Init or Function.
  class Failure
    attr_reader :type

    def initialize(exception, stage)
      @type = "#{stage}<#{exception.class}>"
      @message = exception.message
      # The frames of the function, not those of this client below it.
      @trace = (exception.backtrace || []).take_while { |line| !line.start_with?(__dir__) }
    end

    def to_h
      { "errorMessage" => @message, "errorType" => @type, "stackTrace" => @trace }
    end

    # Text in whatever encoding becomes valid JSON.
    def to_json(*)
      JSON.generate(to_h.merge("errorMessage" => @message.dup.force_encoding("UTF-8").scrub))
    end
  end
end
