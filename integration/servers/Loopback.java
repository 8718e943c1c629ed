import java.lang.reflect.Array;
import java.lang.reflect.Field;
import java.lang.reflect.Method;

/**
 * Starts DynamoDB Local on 127.0.0.1. The server has no option for the address to listen on and
 * takes all of them; this class builds it from the same command line, sets the host of each of its
 * connectors, and only then starts it. Everything by reflection, so that it compiles without the
 * server's jars. It prints nothing; ask the port whether it is ready.
 */
public final class Loopback {
  private Loopback() {}

  public static void main(String[] args) throws Exception {
    Class<?> runner = Class.forName("software.amazon.dynamodb.services.local.main.ServerRunner");
    Object proxy =
        runner
            .getMethod("createServerFromCommandLineArgs", String[].class)
            .invoke(null, (Object) args);
    Field field = proxy.getClass().getDeclaredField("server");
    field.setAccessible(true);
    Object jetty = field.get(proxy);
    Object connectors = jetty.getClass().getMethod("getConnectors").invoke(jetty);
    for (int i = 0; i < Array.getLength(connectors); i++) {
      Object connector = Array.get(connectors, i);
      connector.getClass().getMethod("setHost", String.class).invoke(connector, "127.0.0.1");
    }
    call(proxy, "start");
    call(proxy, "join");
  }

  private static void call(Object target, String name) throws Exception {
    Method method = target.getClass().getMethod(name);
    method.invoke(target);
  }
}
